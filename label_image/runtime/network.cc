#include "runtime/network.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "error.h"
#include "graph/subgraph.h"
#include "runtime/session_config.h"

namespace label_image {
namespace {

constexpr int kDefaultImageSize = 32;  // CIFAR-10
constexpr int kMaxSide = 10000;
constexpr int kMaxClasses = 100000;

std::string ShapeString(const Shape& shape) {
  std::string text;
  for (int64_t size : shape) {
    text += (text.empty() ? "" : ", ") + (size < 0 ? "?" : std::to_string(size));
  }
  return "[" + text + "]";
}

// Scale an image to mean 0 and standard deviation 1, as tf.image.per_image_standardization does:
// the deviation is at least 1 / sqrt(count), for images of a single colour.
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

void Softmax(float* logits, size_t count) {
  const double max = *std::max_element(logits, logits + count);
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += std::exp(logits[i] - max);
  for (size_t i = 0; i < count; ++i) {
    logits[i] = static_cast<float>(std::exp(logits[i] - max) / sum);
  }
}

// Return `name`, which must be in the graph, or if it is empty the first of two names that is.
std::string ChooseNode(const Graph& graph, const std::string& name, const std::string& first,
                       const std::string& second, const std::string& hint) {
  if (!name.empty()) return std::string(graph.Get(name).name);
  if (graph.Find(first)) return first;
  if (graph.Find(second)) return second;
  throw Error(graph.path() + " has no node " + Quote(first) + " or " + Quote(second) + hint);
}

std::string PlaceholderNames(const Graph& graph) {
  std::string names;
  for (const Node& node : graph.nodes()) {
    if (IsPlaceholder(node) && names.size() < 100) {
      names += (names.empty() ? " (placeholders: " : ", ") + OneLine(node.name, 50);
    }
  }
  return names.empty() ? "" : names + ")";
}

}  // namespace

Network::Network(const TensorFlow& tf, const Graph& graph, const NetworkOptions& options)
    : tf_(tf) {
  ChooseNodes(graph, options);
  const std::string config =
      !options.config.empty() ? options.config
                              : SessionConfig(options.threads, !options.traced &&
                                                                   !options.allow_any_op &&
                                                                   !graph.HasControlFlow());
  Subgraph subgraph = {node_, kUint8, {}, output_, options.allow_any_op};
  Shape shape = graph.OutputShape(graph.Get(node_)).value_or(Shape());
  if (!raw_ && shape.empty() && node_ != "images" && graph.Find("images")) {
    // TensorFlow infers the shape of `inputs` from that of `images`.
    subgraph.input = "images";
    subgraph.shape = graph.OutputShape(graph.Get("images")).value_or(Shape{-1, -1, -1, 3});
    shape = Session(tf, ExtractSubgraph(graph, subgraph), "images", output_, config)
                .InferredShape(node_);
  }
  side_ = InputSide(graph, shape);
  if (raw_) {
    SetSizesOfRawImages(graph, options);
  } else {
    SetSizesOfInputs(graph, options);
  }
  subgraph.input = node_;
  subgraph.type = raw_ ? kUint8 : kFloat;
  subgraph.shape = {-1, side_, side_, 3};
  session_ =
      std::make_unique<Session>(tf, ExtractSubgraph(graph, subgraph), node_, output_, config);
}

void Network::ChooseNodes(const Graph& graph, const NetworkOptions& options) {
  node_ = ChooseNode(graph, options.node, "images", "inputs",
                     PlaceholderNames(graph) + ": give the node to feed with --node");
  output_ = ChooseNode(graph, options.output, "predictions", "probabilities",
                       ": give the node to fetch with --output");
  softmax_ = graph.IsSoftmax(output_);
  const int type = graph.OutputType(graph.Get(node_));
  raw_ = type == kUint8 || (type == 0 && node_ == "images");
  if (!raw_ && type != kFloat && type != 0) {
    throw Error(graph.path() + ": node " + Quote(node_) +
                Format(" has type %d, but only uint8 images and floats can be fed", type));
  }
}

// Return the side of square RGB images in `shape`, or 0 if it is unknown.
int Network::InputSide(const Graph& graph, const Shape& shape) const {
  if (shape.empty()) return 0;
  const bool known = shape.size() == 4 && shape[1] > 0 && shape[2] > 0;
  const bool unknown = shape.size() == 4 && shape[1] < 0 && shape[2] < 0;
  const bool rgb = shape.size() == 4 && (shape[3] == 3 || shape[3] < 0);
  if (!rgb || !(known || unknown) || shape[0] == 0 || shape[1] != shape[2] ||
      shape[1] > kMaxSide) {
    throw Error(graph.path() + ": node " + Quote(node_) + " has shape " + ShapeString(shape) +
                ", but only square images [N, size, size, 3] can be fed");
  }
  return known ? static_cast<int>(shape[1]) : 0;
}

void Network::SetSizesOfRawImages(const Graph& graph, const NetworkOptions& options) {
  if (options.crop_size || !options.standardize.empty()) {
    throw UsageError("--crop_size and --standardize are for graphs without a node 'images': " +
                     graph.path() + " crops and standardizes images itself");
  }
  if (side_ && options.image_size && side_ != options.image_size) {
    throw UsageError(Format("%s expects images of %dx%d, but --image_size is %d",
                            graph.path().c_str(), side_, side_, options.image_size));
  }
  if (!side_) side_ = options.image_size ? options.image_size : kDefaultImageSize;
  image_size_ = side_;
}

void Network::SetSizesOfInputs(const Graph& graph, const NetworkOptions& options) {
  if (side_ && options.crop_size && side_ != options.crop_size) {
    throw UsageError(Format("%s expects inputs of %dx%d, but --crop_size is %d",
                            graph.path().c_str(), side_, side_, options.crop_size));
  }
  if (!side_) side_ = options.crop_size;
  // There is no default: a wrong guess would silently give wrong predictions.
  if (!side_ || (options.standardize.empty() && !options.only_timed)) {
    throw UsageError(graph.path() + " is fed at " + Quote(node_) +
                     ": describe the preprocessing with --crop_size N --standardize "
                     "per_image|none");
  }
  image_size_ = options.image_size ? options.image_size : std::max(side_, kDefaultImageSize);
  if (image_size_ < side_) {
    throw UsageError(Format("--crop_size=%d is larger than --image_size=%d", side_, image_size_));
  }
  per_image_ = options.standardize == "per_image";
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
  const int offset = (image_size_ - side_) / 2;
  auto* target = static_cast<float*>(input.data());
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* image = images + size_t{3} * image_size_ * image_size_ * i;
    for (int y = 0; y < side_; ++y) {
      const uint8_t* row = image + size_t{3} * ((offset + y) * image_size_ + offset);
      std::copy(row, row + 3 * side_, target + size * i + size_t{3} * side_ * y);
    }
    if (per_image_) StandardizePerImage(target + size * i, size);
  }
  return input;
}

Probabilities Network::Classify(const uint8_t* images, int64_t count) {
  Tensor output = Run(Input(images, count));
  const Shape shape = output.shape();
  if (output.type() != kFloat || shape.size() != 2 || shape[0] != count || shape[1] < 1 ||
      shape[1] > kMaxClasses) {
    throw Error(Format("node %s returns a tensor of shape %s for %lld images, not a row of floats "
                       "for each", Quote(output_).c_str(), ShapeString(shape).c_str(),
                       static_cast<long long>(count)));
  }
  Probabilities probabilities;
  probabilities.classes = shape[1];
  const auto* values = static_cast<const float*>(output.data());
  probabilities.values.assign(values, values + shape[0] * shape[1]);
  if (softmax_) return probabilities;
  for (int64_t i = 0; i < count; ++i) {
    Softmax(&probabilities.values[i * shape[1]], shape[1]);
  }
  return probabilities;
}

}  // namespace label_image
