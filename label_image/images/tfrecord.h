// TFRecord files of tf.Examples with raw pixels and a label, from tools/make_tfrecords.py.
#pragma once

#include <cstdint>
#include <string_view>

namespace label_image {

struct Example {
  std::string_view image;  // feature `image_raw`; a part of the file
  int label = 0;           // feature `label`
};

// Return whether the bytes begin as a TFRecord file does: with a length and its checksum.
bool IsTfRecords(std::string_view bytes);

// Remove the first record from `bytes` and return it. Throws Error if it is truncated or damaged,
// or has no such features.
Example TakeExample(std::string_view* bytes);

}  // namespace label_image
