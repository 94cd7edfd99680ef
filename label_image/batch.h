// Evaluation on files of labelled images: CIFAR's binary formats, or TFRecords.

#ifndef LABEL_IMAGE_BATCH_H_
#define LABEL_IMAGE_BATCH_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace label_image {

struct Batch {
  std::vector<int> labels;
  std::vector<uint8_t> images;  // RGB [count, side, side, 3]
};

// Reads a file of TFRecords (see tfrecord.h), or of records of `label_bytes` label bytes, of
// which the last counts (CIFAR-100 has 2), and 3 * side * side bytes, colour by colour; the first
// `limit` of them where it is not 0. `path` names the file in messages. Throws Failure where the
// bytes are not whole records.
Batch ReadBatch(std::string_view bytes, const std::string& path, int side, int64_t limit,
                int label_bytes = 1);

// What came of it. Rows of `confusion` are true classes, columns predicted ones.
struct Figures {
  int64_t images = 0, correct = 0;
  std::vector<std::vector<int64_t>> confusion;
  std::vector<int> predicted;
  std::vector<float> probabilities;  // [images, classes]
  double seconds = 0;

  double accuracy() const { return static_cast<double>(correct) / images; }
};

class Network;

// Classifies all images of `batch`, `batch_size` at a time. Throws Failure where a label is not
// less than the network's number of classes.
Figures Evaluate(Network* network, const Batch& batch, int64_t batch_size);

// A line per image: index, true label, predicted label, probabilities, all parted by spaces.
std::string PredictionLines(const Batch& batch, const Figures& figures);

// The figures as lines for people, with a confusion matrix.
std::string Describe(const Figures& figures, const std::vector<std::string>& labels);

}  // namespace label_image

#endif  // LABEL_IMAGE_BATCH_H_
