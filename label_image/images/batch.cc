#include "images/batch.h"

#include <algorithm>

#include "error.h"
#include "images/tfrecord.h"

namespace label_image {
namespace {

Batch ReadExamples(std::string_view bytes, const std::string& path, int side, int64_t limit) {
  const size_t size = size_t{3} * side * side;
  Batch batch;
  while (!bytes.empty() && (limit == 0 || static_cast<int64_t>(batch.labels.size()) < limit)) {
    Example example;
    try {
      example = TakeExample(&bytes);
    } catch (const Error& error) {
      throw Error(path + Format(": record %zu: ", batch.labels.size()) + error.what());
    }
    if (example.image.size() != size) {
      throw Error(path + Format(": an image has %zu bytes, but the graph expects %zu (%dx%d)",
                                example.image.size(), size, side, side));
    }
    batch.labels.push_back(example.label);
    batch.images.insert(batch.images.end(), example.image.begin(), example.image.end());
  }
  return batch;
}

}  // namespace

Batch ReadBatch(std::string_view bytes, const std::string& path, int side, int64_t limit,
                int label_bytes) {
  if (IsTfRecords(bytes)) return ReadExamples(bytes, path, side, limit);
  const size_t plane = size_t{1} * side * side, record = label_bytes + 3 * plane;
  if (bytes.empty() || bytes.size() % record != 0) {
    const bool cifar100 = label_bytes == 1 && !bytes.empty() && bytes.size() % (record + 1) == 0;
    throw Error(path + Format(": %zu bytes are not whole records of %zu bytes (%d label byte%s and "
                              "an image of %dx%d), and not TFRecords%s", bytes.size(), record,
                              label_bytes, label_bytes == 1 ? "" : "s", side, side,
                              cifar100 ? "; for CIFAR-100, give --label_bytes=2" : ""));
  }
  size_t count = bytes.size() / record;
  if (limit > 0) count = std::min<size_t>(count, limit);
  Batch batch;
  batch.images.resize(count * 3 * plane);
  for (size_t i = 0; i < count; ++i) {
    const char* source = bytes.data() + i * record + label_bytes - 1;
    batch.labels.push_back(static_cast<unsigned char>(*source++));
    uint8_t* target = &batch.images[i * 3 * plane];
    for (size_t c = 0; c < 3; ++c) {
      for (size_t p = 0; p < plane; ++p) target[3 * p + c] = static_cast<uint8_t>(*source++);
    }
  }
  return batch;
}

}  // namespace label_image
