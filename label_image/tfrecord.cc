// Formats: https://www.tensorflow.org/tutorials/load_data/tfrecord and tensorflow/core/example.

#include "tfrecord.h"

#include <array>
#include <limits>
#include <vector>

#include "error.h"
#include "wire.h"

namespace label_image {
namespace {

constexpr size_t kHeader = 12, kFooter = 4;

uint64_t LittleEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) {
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

// CRC-32C, rotated and shifted as TFRecords store it.
uint32_t MaskedChecksum(std::string_view bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> made{};
    for (uint32_t i = 0; i < 256; ++i) {
      made[i] = i;
      for (int bit = 0; bit < 8; ++bit) made[i] = made[i] >> 1 ^ (made[i] & 1 ? 0x82f63b78 : 0);
    }
    return made;
  }();
  uint32_t crc = 0xffffffff;
  for (const char c : bytes) crc = table[(crc ^ static_cast<unsigned char>(c)) & 255] ^ crc >> 8;
  crc = ~crc;
  return (crc >> 15 | crc << 17) + 0xa282ead8;
}

// The last field `number` of a message, which holds bytes.
std::string_view Bytes(std::string_view message, uint32_t number) {
  std::string_view found;
  wire::Field field;
  for (wire::Reader reader(message); reader.Next(&field);) {
    if (field.number == number) found = field.AsBytes();
  }
  return found;
}

}  // namespace

bool IsTfRecords(std::string_view bytes) {
  return bytes.size() >= kHeader &&
         LittleEndian(bytes.substr(8, 4)) == MaskedChecksum(bytes.substr(0, 8));
}

Example TakeExample(std::string_view* bytes) {
  if (!IsTfRecords(*bytes)) throw Failure("a record is damaged");
  const uint64_t length = LittleEndian(bytes->substr(0, 8));
  if (bytes->size() < kHeader + kFooter || length > bytes->size() - kHeader - kFooter) {
    throw Failure("it is truncated");
  }
  const std::string_view data = bytes->substr(kHeader, length);
  if (LittleEndian(bytes->substr(kHeader + length, kFooter)) != MaskedChecksum(data)) {
    throw Failure("a record is damaged");
  }
  bytes->remove_prefix(kHeader + length + kFooter);
  Example example;
  bool labelled = false;
  wire::Field entry;
  for (wire::Reader features(Bytes(data, 1)); features.Next(&entry);) {
    if (entry.number != 1) continue;
    const std::string_view name = Bytes(entry.AsBytes(), 1), feature = Bytes(entry.AsBytes(), 2);
    if (name == "image_raw") example.image = Bytes(Bytes(feature, 1), 1);
    if (name != "label") continue;
    std::vector<uint64_t> values;
    wire::Field value;
    for (wire::Reader list(Bytes(feature, 3)); list.Next(&value);) {
      if (value.number == 1) wire::AppendVarints(value, &values);
    }
    labelled = values.size() == 1 && values[0] <= std::numeric_limits<int>::max();
    if (labelled) example.label = static_cast<int>(values[0]);
  }
  if (!labelled || example.image.empty()) {
    throw Failure("a record is no tf.Example with features image_raw and label");
  }
  return example;
}

}  // namespace label_image
