#include "inference/evaluate.h"

#include <algorithm>
#include <chrono>

#include "error.h"

namespace label_image {
namespace {

constexpr size_t kMaxPrintedClasses = 20;  // of the confusion matrix

}  // namespace

Metrics Evaluate(Network* network, const Batch& batch, int64_t batch_size,
                 bool keep_probabilities) {
  Metrics metrics;
  metrics.images = static_cast<int64_t>(batch.labels.size());
  const size_t size = size_t{3} * network->image_size() * network->image_size();
  batch_size = metrics.batch_size = std::min(batch_size, metrics.images);
  // A last batch of another size is not timed: OpenVINO compiles the model for it.
  const int64_t timed = metrics.images / batch_size * batch_size;
  const auto start = std::chrono::steady_clock::now();
  for (int64_t first = 0; first < metrics.images; first += batch_size) {
    const int64_t count = std::min(batch_size, metrics.images - first);
    const Probabilities probabilities = network->Classify(&batch.images[first * size], count);
    const size_t classes = probabilities.classes;
    metrics.classes.resize(classes);
    if (first == 0 && classes <= kMaxMatrixClasses) {
      metrics.confusion.assign(classes, std::vector<int64_t>(classes));
    }
    for (int64_t i = 0; i < count; ++i) {
      const size_t label = batch.labels[first + i];
      if (label >= classes) {
        throw Error(ImageName(batch, first + i), " has the label ", label, ", but ",
                    network->name(), " has only ", classes,
                    " classes: give the graph of this dataset");
      }
      const float* row = probabilities.row(i);
      const size_t predicted = std::max_element(row, row + classes) - row;
      metrics.predicted.push_back(static_cast<int>(predicted));
      if (!metrics.confusion.empty()) metrics.confusion[label][predicted] += 1;
      metrics.classes[label].images += 1;
      metrics.classes[label].correct += predicted == label;
      metrics.correct += predicted == label;
    }
    if (keep_probabilities) {
      metrics.probabilities.insert(metrics.probabilities.end(), probabilities.values.begin(),
                                   probabilities.values.end());
    }
    if (first + count == timed) {
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
      metrics.images_per_second = timed / time.count();
    }
  }
  return metrics;
}

std::string PredictionLines(const Batch& batch, const Metrics& metrics) {
  const size_t classes = metrics.classes.size();
  std::string lines;
  for (size_t i = 0; i < metrics.predicted.size(); ++i) {
    lines += Format("%zu %d %d", i, batch.labels[i], metrics.predicted[i]);
    for (size_t c = 0; c < classes; ++c) {
      lines += Format(" %.9g", metrics.probabilities[i * classes + c]);
    }
    lines += '\n';
  }
  return lines;
}

std::string FormatMetrics(const Metrics& metrics, const std::vector<std::string>& class_names) {
  std::string text =
      Format("%lld of %lld images correct, accuracy %.4f (%.0f images/s)\n",
             static_cast<long long>(metrics.correct), static_cast<long long>(metrics.images),
             metrics.accuracy(), metrics.images_per_second);
  size_t width = 0;
  for (const std::string& name : class_names) width = std::max(width, CountCharacters(name));
  const bool matrix = class_names.size() <= kMaxPrintedClasses;
  for (size_t label = 0; label < metrics.classes.size(); ++label) {
    const auto& [images, correct] = metrics.classes[label];
    const std::string percent =
        images ? Format("%6.2f %%", 100. * correct / images) : "     –  ";
    text += Concat("  ", Padded(class_names[label], width), " ", percent, matrix ? " " : "");
    if (matrix) {
      for (int64_t count : metrics.confusion[label]) {
        text += Format(" %5lld", static_cast<long long>(count));
      }
    }
    text += '\n';
  }
  return text;
}

}  // namespace label_image
