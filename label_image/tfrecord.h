// TFRecord files of tf.Examples with an image of raw pixels and its label, as
// tools/make_tfrecords.py writes them.

#ifndef LABEL_IMAGE_TFRECORD_H_
#define LABEL_IMAGE_TFRECORD_H_

#include <cstdint>
#include <string_view>

namespace label_image {

// Whether the bytes begin as a TFRecord file does: a length and its checksum.
bool IsTfRecords(std::string_view bytes);

struct Example {
  std::string_view image;  // feature `image_raw`; points into what was read
  int label = 0;           // feature `label`
};

// Takes the first record from `bytes`. Throws Failure where it is cut short or damaged, or is no
// such tf.Example.
Example TakeExample(std::string_view* bytes);

}  // namespace label_image

#endif  // LABEL_IMAGE_TFRECORD_H_
