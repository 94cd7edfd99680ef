#include "batch.h"

#include <algorithm>
#include <chrono>

#include "error.h"
#include "network.h"
#include "tfrecord.h"

namespace label_image {
namespace {

constexpr size_t kMostShown = 20;  // classes whose confusion is printed too

Batch ReadExamples(std::string_view bytes, const std::string& path, int side, int64_t limit) {
  const size_t size = size_t{3} * side * side;
  Batch batch;
  while (!bytes.empty() && (limit == 0 || static_cast<int64_t>(batch.labels.size()) < limit)) {
    Example example;
    try {
      example = TakeExample(&bytes);
    } catch (const Failure& failure) {
      throw Failure(path + Format(": record %zu: ", batch.labels.size()) + failure.what());
    }
    if (example.image.size() != size) {
      throw Failure(path + Format(": an image of %zu bytes, where the graph takes %zu (%dx%d)",
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
    const bool two = label_bytes == 1 && !bytes.empty() && bytes.size() % (record + 1) == 0;
    throw Failure(path + Format(": %zu bytes are not whole records of %zu (%d label byte%s and an "
                                "image of %dx%d), nor TFRecords%s", bytes.size(), record,
                                label_bytes, label_bytes == 1 ? "" : "s", side, side,
                                two ? "; if it is CIFAR-100's, give --label_bytes=2" : ""));
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

Figures Evaluate(Network* network, const Batch& batch, int64_t batch_size) {
  Figures figures;
  figures.images = static_cast<int64_t>(batch.labels.size());
  const size_t size = size_t{3} * network->image_size() * network->image_size();
  int classes = 0;
  // The first run optimizes the graph and allocates: it is not timed.
  network->Probabilities(batch.images.data(), std::min(batch_size, figures.images), &classes);
  figures.confusion.assign(classes, std::vector<int64_t>(classes));
  const auto start = std::chrono::steady_clock::now();
  for (int64_t first = 0; first < figures.images; first += batch_size) {
    const int64_t count = std::min(batch_size, figures.images - first);
    const std::vector<float> probabilities =
        network->Probabilities(&batch.images[first * size], count, &classes);
    for (int64_t i = 0; i < count; ++i) {
      const int truth = batch.labels[first + i];
      if (truth >= classes) {
        throw Failure(Format("image %lld has label %d, but the graph knows %d classes",
                             static_cast<long long>(first + i), truth, classes));
      }
      const auto row = probabilities.begin() + i * classes;
      const auto predicted = static_cast<int>(std::max_element(row, row + classes) - row);
      figures.predicted.push_back(predicted);
      figures.confusion[truth][predicted] += 1;
      figures.correct += predicted == truth;
    }
    figures.probabilities.insert(figures.probabilities.end(), probabilities.begin(),
                                 probabilities.end());
  }
  figures.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return figures;
}

std::string PredictionLines(const Batch& batch, const Figures& figures) {
  const size_t classes = figures.confusion.size();
  std::string lines;
  for (size_t i = 0; i < figures.predicted.size(); ++i) {
    lines += Format("%zu %d %d", i, batch.labels[i], figures.predicted[i]);
    for (size_t c = 0; c < classes; ++c) {
      lines += Format(" %.9g", figures.probabilities[i * classes + c]);
    }
    lines += '\n';
  }
  return lines;
}

std::string Describe(const Figures& figures, const std::vector<std::string>& labels) {
  std::string text =
      Format("%lld of %lld images correct, accuracy %.4f (%.0f images/s)\n",
             static_cast<long long>(figures.correct), static_cast<long long>(figures.images),
             figures.accuracy(), figures.images / figures.seconds);
  size_t width = 0;
  for (const std::string& label : labels) width = std::max(width, label.size());
  const bool matrix = labels.size() <= kMostShown;
  for (size_t row = 0; row < figures.confusion.size(); ++row) {
    int64_t all = 0;
    for (int64_t n : figures.confusion[row]) all += n;
    text += Format("  %-*s %6.2f %%%s", static_cast<int>(width), labels[row].c_str(),
                   100. * figures.confusion[row][row] / std::max<int64_t>(all, 1),
                   matrix ? " " : "");
    for (int64_t n : figures.confusion[row]) {
      if (matrix) text += Format(" %5lld", static_cast<long long>(n));
    }
    text += '\n';
  }
  return text;
}

}  // namespace label_image
