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
  throw Error(graph.path(), " has no node ", Quote(first), " or ", Quote(second), hint);
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
    : tf_(tf), graph_(graph), options_(options) {
  ChooseNodes();
  const bool simple = !options.traced && !options.allow_any_op && !graph.HasControlFlow();
  const std::string config =
      options.config.empty() ? SessionConfig(options.threads, simple) : options.config;
  Subgraph subgraph = {node_, kUint8, {}, output_, options.allow_any_op};
  Shape shape = graph.OutputShape(graph.Get(node_)).value_or(Shape());
  if (!raw_ && shape.empty() && node_ != "images" && graph.Find("images")) {
    // TensorFlow infers the shape of `inputs` from that of `images`.
    subgraph.input = "images";
    subgraph.shape = graph.OutputShape(graph.Get("images")).value_or(Shape{-1, -1, -1, 3});
    shape = Session(tf, ExtractSubgraph(graph, subgraph), "images", output_, config)
                .InferredShape(node_);
  }
  SetSizes(InputSide(shape));
  subgraph = {node_, raw_ ? kUint8 : kFloat, {-1, side_, side_, 3}, output_, options.allow_any_op};
  session_ =
      std::make_unique<Session>(tf, ExtractSubgraph(graph, subgraph), node_, output_, config);
}

void Network::ChooseNodes() {
  node_ = ChooseNode(graph_, options_.node, "images", "inputs",
                     PlaceholderNames(graph_) + ": give the node to feed with --node");
  output_ = ChooseNode(graph_, options_.output, "predictions", "probabilities",
                       ": give the node to fetch with --output");
  softmax_ = graph_.IsSoftmax(output_);
  const int type = graph_.OutputType(graph_.Get(node_));
  raw_ = type == kUint8 || (type == 0 && node_ == "images");
  if (!raw_ && type != kFloat && type != 0) {
    throw Error(graph_.path(), ": node ", Quote(node_), " has type ", type,
                ", but only uint8 images and floats can be fed");
  }
}

// Return the side of square RGB images in `shape`, or 0 if it is unknown.
int Network::InputSide(const Shape& shape) const {
  if (shape.empty()) return 0;
  const bool rgb = shape.size() == 4 && shape[0] != 0 && (shape[3] == 3 || shape[3] < 0);
  if (!rgb || shape[1] != shape[2] || shape[1] == 0 || shape[1] > kMaxSide) {
    throw Error(graph_.path(), ": node ", Quote(node_), " has shape ", ShapeString(shape),
                ", but only square images [N, size, size, 3] can be fed");
  }
  return static_cast<int>(std::max<int64_t>(shape[1], 0));
}

void Network::SetSizes(int side_in_graph) {
  if (raw_ && (options_.crop_size || !options_.standardize.empty())) {
    throw UsageError("--crop_size and --standardize are for graphs without a node 'images': ",
                     graph_.path(), " crops and standardizes images itself");
  }
  const int side = raw_ ? options_.image_size : options_.crop_size;
  if (side_in_graph && side && side_in_graph != side) {
    throw UsageError(graph_.path(), " expects images of ", side_in_graph, "x", side_in_graph,
                     ", but ", raw_ ? "--image_size" : "--crop_size", " is ", side);
  }
  side_ = side_in_graph ? side_in_graph : side;
  if (raw_) {
    image_size_ = side_ = side_ ? side_ : kDefaultImageSize;
    return;
  }
  // There is no default: a wrong guess would silently give wrong predictions.
  if (!side_ || (options_.standardize.empty() && !options_.only_timed)) {
    throw UsageError(graph_.path(), " is fed at ", Quote(node_), ": describe the preprocessing "
                     "with --crop_size N --standardize per_image|none");
  }
  image_size_ = options_.image_size ? options_.image_size : std::max(side_, kDefaultImageSize);
  if (image_size_ < side_) {
    throw UsageError("--crop_size=", side_, " is larger than --image_size=", image_size_);
  }
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
    if (options_.standardize == "per_image") StandardizePerImage(target + size * i, size);
  }
  return input;
}

Probabilities Network::Classify(const uint8_t* images, int64_t count) {
  Tensor output = Run(Input(images, count));
  const Shape shape = output.shape();
  if (output.type() != kFloat || shape.size() != 2 || shape[0] != count || shape[1] < 1 ||
      shape[1] > kMaxClasses) {
    throw Error("node ", Quote(output_), " returns a tensor of shape ", ShapeString(shape),
                " for ", count, " images, not a row of floats for each");
  }
  const int64_t classes = shape[1];
  const auto* values = static_cast<const float*>(output.data());
  Probabilities probabilities = {static_cast<size_t>(classes), {values, values + count * classes}};
  for (int64_t i = 0; i < count && !softmax_; ++i) {
    Softmax(&probabilities.values[i * classes], classes);
  }
  return probabilities;
}

}  // namespace label_image
