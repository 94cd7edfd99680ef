// Files of labelled images: CIFAR's binary formats, or TFRecords.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace label_image {

// Where the images of a file begin in a batch.
struct BatchFile {
  std::string path;
  size_t first = 0;
};

struct Batch {
  std::vector<BatchFile> files;
  std::vector<int> labels;
  std::vector<uint8_t> images;  // RGB [count, side, side, 3]
};

// Append the images of a file of TFRecords, which are tf.Examples with raw pixels and a label from
// tools/make_tfrecords.py, or of CIFAR records: `label_bytes` label bytes, the last of which is the
// label (CIFAR-100 has 2), then 3 planes of side * side bytes for red, green and blue. Stops when
// the batch has `limit` images; 0: no limit. `path` names the file in messages. Throws Error if the
// file does not consist of such records.
void ReadBatch(std::string_view bytes, const std::string& path, int side, size_t limit,
               int label_bytes, Batch* batch);

// Return the first `limit` images of several files. Throws Error like ReadBatch.
Batch ReadBatches(const std::vector<std::string>& paths, int side, size_t limit, int label_bytes);

// Return "FILE: image K" for messages: K counts the images of that file, from 0.
std::string ImageName(const Batch& batch, size_t index);

}  // namespace label_image
