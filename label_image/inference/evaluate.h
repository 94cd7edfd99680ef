// Accuracy of a network on labelled images.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "images/batch.h"
#include "inference/network.h"

namespace label_image {

constexpr size_t kMaxMatrixClasses = 1000;  // 8 MB

struct ClassMetrics {
  int64_t images = 0, correct = 0;  // of the images of this class
};

struct Metrics {
  int64_t images = 0, correct = 0;
  int64_t batch_size = 0;  // images that were classified at a time
  std::vector<ClassMetrics> classes;
  // Rows: true classes, columns: predictions. Empty if there are more than kMaxMatrixClasses.
  std::vector<std::vector<int64_t>> confusion;
  std::vector<int> predicted;                   // class of each image
  std::vector<float> probabilities;             // [images, classes], if they are kept
  double images_per_second = 0;                 // in batches of one size

  double accuracy() const { return static_cast<double>(correct) / images; }
};

// Classify all images of `batch`, `batch_size` at a time. Throws Error if a label is not less than
// the number of classes of the network.
Metrics Evaluate(Network* network, const Batch& batch, int64_t batch_size, bool keep_probabilities);

// Return a line per image: index, true label, predicted label and probabilities, with spaces in
// between. `metrics` must have kept the probabilities.
std::string PredictionLines(const Batch& batch, const Metrics& metrics);

// Return the metrics as text, with the accuracy of each class and, of few classes, the confusion
// matrix.
std::string FormatMetrics(const Metrics& metrics, const std::vector<std::string>& class_names);

}  // namespace label_image
