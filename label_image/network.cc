#include "network.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "error.h"
#include "session_config.h"

namespace label_image {
namespace {

constexpr int kDefaultImageSize = 32;  // CIFAR-10's
constexpr int kMostSide = 10000;
constexpr int kMostClasses = 100000;

std::string ShapeString(const Shape& shape) {
  std::string text;
  for (int64_t side : shape) {
    text += text.empty() ? "[" : ", ";
    text += side < 0 ? "?" : std::to_string(side);
  }
  return text.empty() ? "[]" : text + "]";
}

}  // namespace

void StandardizePerImage(float* image, size_t count) {
  double sum = 0, squares = 0;
  for (size_t i = 0; i < count; ++i) sum += image[i];
  const double mean = sum / count;
  for (size_t i = 0; i < count; ++i) squares += (image[i] - mean) * (image[i] - mean);
  const double deviation = std::max(std::sqrt(squares / count), 1 / std::sqrt(1. * count));
  for (size_t i = 0; i < count; ++i) {
    image[i] = static_cast<float>((image[i] - mean) / deviation);
  }
}

void Network::ChooseNodes(const Graph& graph, const NetworkOptions& options) {
  node_ = options.node;
  if (node_.empty()) {
    node_ = graph.Find("images") ? "images" : "inputs";
    if (!graph.Find(node_)) {
      std::string names;
      for (const Node& node : graph.nodes()) {
        if (node.op.substr(0, 11) == "Placeholder" && names.size() < 100) {
          names += (names.empty() ? " (placeholders: " : ", ") + OneLine(node.name, 50);
        }
      }
      throw Failure(graph.path() + " has no node 'images' or 'inputs'" +
                    (names.empty() ? "" : names + ")") + ": name what to feed with --node");
    }
  }
  output_ = options.output;
  if (output_.empty()) {
    output_ = graph.Find("predictions") ? "predictions" : "probabilities";
    if (!graph.Find(output_)) {
      throw Failure(graph.path() +
                    " has no node 'predictions' or 'probabilities': name one with --output");
    }
  }
  graph.Get(output_);
  softmax_ = graph.IsSoftmax(output_);
  const int type = graph.Type(graph.Get(node_));
  raw_ = type == kUint8 || (type == 0 && node_ == "images");
  if (!raw_ && type != kFloat && type != 0) {
    throw Failure(Format("%s: node '%s' is of type %d, not uint8 images or floats",
                         graph.path().c_str(), OneLine(node_, 100).c_str(), type));
  }
}

// The side of squares of 3 colours in `shape`; 0 where it is not known.
int Network::Side(const Graph& graph, const Shape& shape) const {
  if (shape.empty()) return 0;
  const bool known = shape.size() == 4 && shape[1] > 0 && shape[2] > 0;
  const bool open = shape.size() == 4 && shape[1] < 0 && shape[2] < 0;
  const bool colours = shape.size() == 4 && (shape[3] == 3 || shape[3] < 0);
  if (!colours || !(known || open) || shape[0] == 0 || shape[1] != shape[2] ||
      shape[1] > kMostSide) {
    throw Failure(graph.path() + ": node '" + OneLine(node_, 100) + "' takes " +
                  ShapeString(shape) + ", not square images [N, size, size, 3]");
  }
  return known ? static_cast<int>(shape[1]) : 0;
}

Network::Network(const TensorFlow& tf, const Graph& graph, const NetworkOptions& options,
                 bool only_timed)
    : tf_(tf) {
  ChooseNodes(graph, options);
  const bool simple = !options.traced && !options.any_op && !graph.HasControlFlow();
  const std::string config =
      options.config.empty() ? SessionConfig(options.threads, simple) : options.config;
  Shape shape;
  if (!graph.GivenShape(graph.Get(node_), &shape)) shape.clear();
  if (!raw_ && shape.empty() && node_ != "images" && graph.Find("images")) {
    Shape images;
    if (!graph.GivenShape(graph.Get("images"), &images)) images = {-1, -1, -1, 3};
    shape = Session(tf, graph.Cut("images", kUint8, images, output_, options.any_op), "images",
                    output_, config).ShapeOf(node_);
  }
  side_ = Side(graph, shape);
  if (raw_) {
    if (options.crop_size || !options.standardize.empty()) {
      throw UsageError("--crop_size and --standardize are for graphs without a node 'images': " +
                       graph.path() + " crops and standardizes by itself");
    }
    if (side_ && options.image_size && side_ != options.image_size) {
      throw UsageError(Format("%s takes images of %dx%d: --image_size=%d does not fit",
                              graph.path().c_str(), side_, side_, options.image_size));
    }
    if (!side_) side_ = options.image_size ? options.image_size : kDefaultImageSize;
    image_size_ = side_;
  } else {
    if (side_ && options.crop_size && side_ != options.crop_size) {
      throw UsageError(Format("%s takes inputs of %dx%d: --crop_size=%d does not fit",
                              graph.path().c_str(), side_, side_, options.crop_size));
    }
    if (!side_) side_ = options.crop_size;
    // A wrong guess here would give wrong answers without a sign of it.
    if (!side_ || (options.standardize.empty() && !only_timed)) {
      throw UsageError(graph.path() + " is fed at '" + OneLine(node_, 100) +
                       "': say how to preprocess: --crop_size N --standardize per_image|none");
    }
    image_size_ = options.image_size ? options.image_size : std::max(side_, kDefaultImageSize);
    if (image_size_ < side_) {
      throw UsageError(Format("--crop_size=%d is more than --image_size=%d", side_, image_size_));
    }
    per_image_ = options.standardize == "per_image";
  }
  const std::string cut = graph.Cut(node_, raw_ ? kUint8 : kFloat, {-1, side_, side_, 3}, output_,
                                    options.any_op);
  session_ = std::make_unique<Session>(tf, cut, node_, output_, config);
}

Tensor Network::Input(const uint8_t* images, int64_t count) const {
  const Shape shape = {count, side_, side_, 3};
  const size_t size = size_t{3} * side_ * side_;
  if (raw_) {
    Tensor input(tf_, kUint8, shape, 1);
    memcpy(input.data(), images, size * count);
    return input;
  }
  Tensor input(tf_, kFloat, shape, sizeof(float));
  const int corner = (image_size_ - side_) / 2;
  auto* target = static_cast<float*>(input.data());
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* image = images + size_t{3} * image_size_ * image_size_ * i;
    for (int y = 0; y < side_; ++y) {
      const uint8_t* row = image + size_t{3} * ((corner + y) * image_size_ + corner);
      std::copy(row, row + 3 * side_, target + size * i + size_t{3} * side_ * y);
    }
    if (per_image_) StandardizePerImage(target + size * i, size);
  }
  return input;
}

std::vector<float> Network::Probabilities(const uint8_t* images, int64_t count, int* classes) {
  Tensor output = Run(Input(images, count));
  const Shape shape = output.shape();
  if (output.type() != kFloat || shape.size() != 2 || shape[0] != count || shape[1] < 1 ||
      shape[1] > kMostClasses) {
    throw Failure("node '" + OneLine(output_, 100) + "' gives " + ShapeString(shape) +
                  Format(" for %lld images, not a row of floats for each",
                         static_cast<long long>(count)));
  }
  *classes = static_cast<int>(shape[1]);
  const auto* values = static_cast<const float*>(output.data());
  std::vector<float> probabilities(values, values + shape[0] * shape[1]);
  if (softmax_) return probabilities;
  for (auto row = probabilities.begin(); row != probabilities.end(); row += *classes) {
    const double most = *std::max_element(row, row + *classes);
    double sum = 0;
    for (auto p = row; p != row + *classes; ++p) sum += std::exp(*p - most);
    for (auto p = row; p != row + *classes; ++p) {
      *p = static_cast<float>(std::exp(*p - most) / sum);
    }
  }
  return probabilities;
}

}  // namespace label_image
