// Formats: https://www.tensorflow.org/tutorials/load_data/tfrecord and tensorflow/core/example.

#include "images/tfrecord.h"

#include <array>
#include <limits>
#include <optional>
#include <vector>

#include "error.h"
#include "graph/wire.h"

namespace label_image {
namespace {

constexpr size_t kHeader = 12, kFooter = 4;

// Field numbers in TensorFlow's example.proto and feature.proto.
enum ExampleField { kFeatures = 1, kFeature = 1, kKey = 1, kValue = 2 };
enum FeatureField { kBytesList = 1, kInt64List = 3, kListValue = 1 };

uint64_t LittleEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) {
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

// Return the CRC-32C, rotated and offset as TFRecords store it.
uint32_t MaskedChecksum(std::string_view bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> entries{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t entry = i;
      for (int bit = 0; bit < 8; ++bit) entry = entry >> 1 ^ (entry & 1 ? 0x82f63b78 : 0);
      entries[i] = entry;
    }
    return entries;
  }();
  uint32_t crc = 0xffffffff;
  for (const char c : bytes) crc = table[(crc ^ static_cast<unsigned char>(c)) & 255] ^ crc >> 8;
  crc = ~crc;
  return (crc >> 15 | crc << 17) + 0xa282ead8;
}

// Return the only number in an Int64List, if it is a valid label.
std::optional<int> ParseLabel(std::string_view list) {
  std::vector<uint64_t> values;
  wire::Field field;
  for (wire::Reader reader(list); reader.Next(&field);) {
    if (field.number == kListValue) wire::AppendVarints(field, &values);
  }
  if (values.size() != 1 || values[0] > std::numeric_limits<int>::max()) return std::nullopt;
  return static_cast<int>(values[0]);
}

}  // namespace

bool IsTfRecords(std::string_view bytes) {
  return bytes.size() >= kHeader &&
         LittleEndian(bytes.substr(8, 4)) == MaskedChecksum(bytes.substr(0, 8));
}

Example TakeExample(std::string_view* bytes) {
  if (!IsTfRecords(*bytes)) throw Error("a record is damaged");
  const uint64_t length = LittleEndian(bytes->substr(0, 8));
  if (bytes->size() < kHeader + kFooter || length > bytes->size() - kHeader - kFooter) {
    throw Error("the file is truncated");
  }
  const std::string_view data = bytes->substr(kHeader, length);
  if (LittleEndian(bytes->substr(kHeader + length, kFooter)) != MaskedChecksum(data)) {
    throw Error("a record is damaged");
  }
  bytes->remove_prefix(kHeader + length + kFooter);
  Example example;
  std::optional<int> label;
  for (std::string_view entry : wire::AllBytes(wire::LastBytes(data, kFeatures), kFeature)) {
    const std::string_view name = wire::LastBytes(entry, kKey);
    const std::string_view feature = wire::LastBytes(entry, kValue);
    if (name == "image_raw") {
      example.image = wire::LastBytes(wire::LastBytes(feature, kBytesList), kListValue);
    } else if (name == "label") {
      label = ParseLabel(wire::LastBytes(feature, kInt64List));
    }
  }
  if (!label || example.image.empty()) {
    throw Error("a record is not a tf.Example with the features image_raw and label");
  }
  example.label = *label;
  return example;
}

}  // namespace label_image
