#include "images/batch.h"

#include <array>
#include <climits>

#include "error.h"
#include "file.h"
#include "graph/wire.h"

namespace label_image {
namespace {

// TFRecords: https://www.tensorflow.org/tutorials/load_data/tfrecord and tensorflow/core/example.
constexpr size_t kHeader = 12, kFooter = 4;

// Field numbers in TensorFlow's example.proto and feature.proto.
enum ExampleField { kFeatures = 1, kFeature = 1, kKey = 1, kValue = 2 };
enum FeatureField { kBytesList = 1, kInt64List = 3, kListValue = 1 };

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

// Return whether the bytes begin as a TFRecord file does: with a length and its checksum.
bool IsTfRecords(std::string_view bytes) {
  return bytes.size() >= kHeader &&
         LittleEndian(bytes.substr(8, 4)) == MaskedChecksum(bytes.substr(0, 8));
}

// Remove the first record from `bytes`, and append its image and label to `batch`.
void TakeExample(std::string_view* bytes, int side, Batch* batch) {
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
  std::string_view image;
  std::vector<uint64_t> labels;
  for (std::string_view entry : wire::AllBytes(wire::LastBytes(data, kFeatures), kFeature)) {
    const std::string_view name = wire::LastBytes(entry, kKey);
    const std::string_view feature = wire::LastBytes(entry, kValue);
    if (name == "image_raw") {
      image = wire::LastBytes(wire::LastBytes(feature, kBytesList), kListValue);
    } else if (name == "label") {
      labels = wire::AllVarints(wire::LastBytes(feature, kInt64List), kListValue);
    }
  }
  if (labels.size() != 1 || labels[0] > INT_MAX || image.empty()) {
    throw Error("a record is not a tf.Example with the features image_raw and label");
  }
  const size_t size = size_t{3} * side * side;
  if (image.size() != size) {
    throw Error("an image has ", image.size(), " bytes, but the graph expects ", size, " (", side,
                "x", side, ")");
  }
  batch->labels.push_back(static_cast<int>(labels[0]));
  batch->images.insert(batch->images.end(), image.begin(), image.end());
}

}  // namespace

void ReadBatch(std::string_view bytes, const std::string& path, int side, size_t limit,
               int label_bytes, Batch* batch) {
  if (limit == 0) limit = SIZE_MAX;
  batch->files.push_back({path, batch->labels.size()});
  if (IsTfRecords(bytes)) {
    size_t record = 0;
    try {
      for (; !bytes.empty() && batch->labels.size() < limit; ++record) {
        TakeExample(&bytes, side, batch);
      }
    } catch (const Error& error) {
      throw Error(path, ": record ", record, ": ", error.what());
    }
    return;
  }
  const size_t plane = size_t{1} * side * side, record = label_bytes + 3 * plane;
  if (bytes.empty() || bytes.size() % record != 0) {
    const bool cifar100 = label_bytes == 1 && !bytes.empty() && bytes.size() % (record + 1) == 0;
    throw Error(path, ": ", bytes.size(), " bytes are not whole records of ", record, " bytes (",
                label_bytes, label_bytes == 1 ? " label byte" : " label bytes",
                " and an image of ", side, "x", side, "), and not TFRecords",
                cifar100 ? "; for CIFAR-100, give --label_bytes=2" : "");
  }
  for (; !bytes.empty() && batch->labels.size() < limit; bytes.remove_prefix(record)) {
    const auto* label = reinterpret_cast<const uint8_t*>(bytes.data()) + label_bytes - 1;
    batch->labels.push_back(*label);
    for (const uint8_t* red = label + 1; red <= label + plane; ++red) {
      batch->images.insert(batch->images.end(), {red[0], red[plane], red[2 * plane]});
    }
  }
}

Batch ReadBatches(const std::vector<std::string>& paths, int side, size_t limit, int label_bytes) {
  Batch batch;
  for (const std::string& path : paths) {
    ReadBatch(ReadFile(path), path, side, limit, label_bytes, &batch);
  }
  return batch;
}

std::string ImageName(const Batch& batch, size_t index) {
  auto file = batch.files.rbegin();
  while (file->first > index) ++file;  // the first file begins at 0
  return Concat(file->path, ": image ", index - file->first);
}

}  // namespace label_image
