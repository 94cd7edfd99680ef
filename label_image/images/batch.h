// Files of labelled images: CIFAR's binary formats, or TFRecords.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace label_image {

struct Batch {
  std::vector<int> labels;
  std::vector<uint8_t> images;  // RGB [count, side, side, 3]
};

// Parse a file of TFRecords (see tfrecord.h) or of CIFAR records: `label_bytes` label bytes, the
// last of which is the label (CIFAR-100 has 2), then 3 planes of side * side bytes for red, green
// and blue. Reads the first `limit` records; 0: all. `path` names the file in messages. Throws
// Error if the file does not consist of such records.
Batch ReadBatch(std::string_view bytes, const std::string& path, int side, int64_t limit,
                int label_bytes = 1);

}  // namespace label_image
