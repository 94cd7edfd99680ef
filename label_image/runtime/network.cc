#include "runtime/network.h"

#include <algorithm>
#include <cstring>

#include "error.h"
#include "graph/subgraph.h"
#include "runtime/session_config.h"
#include "runtime/size_limits.h"

namespace label_image {
namespace {

constexpr int kDefaultImageSize = 32;  // CIFAR-10
constexpr int kMaxSide = 10000;

}  // namespace

Network::Network(const TensorFlow& tf, const Graph& graph, const NetworkOptions& options)
    : tf_(tf), graph_(graph), options_(options),
      preprocessing_(options.standardize, options.input_mean, options.input_std),
      nodes_(FindNodes(graph, options.node, options.output)),
      output_(graph, nodes_, options.output_kind) {
  const bool simple = !options.traced && !options.allow_any_op && !graph.HasControlFlow();
  const std::string config =
      options.config.empty() ? SessionConfig(options.threads, simple) : options.config;
  Shape shape;
  if (!nodes_.input.empty()) {
    ReadType();
    shape = graph.OutputShape(graph.Get(nodes_.input)).value_or(Shape());
  }
  Subgraph subgraph = {nodes_.input, kUint8, {}, nodes_.output, options.allow_any_op};
  if (!raw_ && shape.empty() && node() != "images" && graph.Find("images") && !output().empty()) {
    // TensorFlow infers the shape of `inputs` from that of `images`.
    subgraph.input = "images";
    subgraph.shape = graph.OutputShape(graph.Get("images")).value_or(Shape{-1, -1, -1, 3});
    shape = Session(tf, ExtractSubgraph(graph, subgraph), "images", output(), config)
                .InferredShape(node());
  }
  SetSizes(nodes_.input.empty() ? 0 : InputSide(shape));
  AskForMissing();
  fixed_batch_ = shape.empty() ? 0 : std::max<int64_t>(shape[0], 0);
  subgraph = {node(), raw_ ? kUint8 : kFloat, {-1, side_, side_, 3}, output(),
              options.allow_any_op};
  if (!options.allow_any_op) {
    subgraph.shape[0] = std::max<int64_t>(fixed_batch_, 1);
    CheckSizes(tf, ExtractSubgraph(graph, subgraph));
    subgraph.shape[0] = -1;
  }
  session_ =
      std::make_unique<Session>(tf, ExtractSubgraph(graph, subgraph), node(), output(), config);
  if (!options.allow_any_op && !options.only_timed) CheckNotRandom();
}

// Throw Error if two runs give two answers. Dropout that is switched off draws numbers, too.
void Network::CheckNotRandom() {
  const auto& nodes = graph_.nodes();
  if (std::none_of(nodes.begin(), nodes.end(),
                   [](const Node& node) { return node.op == "RandomUniform"; })) {
    return;
  }
  const int64_t count = std::max<int64_t>(fixed_batch_, 1);
  std::vector<uint8_t> pixels(size_t{3} * image_size_ * image_size_ * count);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * i);
  const Tensor input = Input(pixels.data(), count);
  Tensor first = Run(input), second = Run(input);
  const size_t size = tf_.TensorByteSize(first.get());
  if (size == tf_.TensorByteSize(second.get()) && !memcmp(first.data(), second.data(), size)) return;
  throw Error(graph_.path(), " gives another answer in each run: RandomUniform is not allowed in "
              "inference (--allow_any_op runs it anyway): switch dropout off, e.g. with --feed");
}

void Network::ReadType() {
  const int type = graph_.OutputType(graph_.Get(node()));
  raw_ = type == kUint8 || (type == 0 && node() == "images");
  if (!raw_ && type != kFloat && type != 0) {
    throw Error(graph_.path(), ": node ", Quote(node()), " has type ", TypeName(type),
                ", but only uint8 images and float32 can be fed");
  }
  if (raw_ && !preprocessing_.empty()) {
    throw UsageError("--standardize, --input_mean and --input_std are for graphs that are fed "
                     "floats: ", graph_.path(), " receives pixels as they are");
  }
}

// Return the side of square RGB images in `shape`, or 0 if it is unknown.
int Network::InputSide(const Shape& shape) const {
  if (shape.empty()) return 0;
  const bool rgb = shape.size() == 4 && shape[0] != 0 && (shape[3] == 3 || shape[3] < 0);
  if (!rgb || shape[1] != shape[2] || shape[1] == 0 || shape[1] > kMaxSide) {
    throw Error(graph_.path(), ": node ", Quote(node()), " has shape ", ShapeText(shape),
                ", but only square images [N, size, size, 3] can be fed");
  }
  return static_cast<int>(std::max<int64_t>(shape[1], 0));
}

void Network::SetSizes(int side_in_graph) {
  if (raw_ && nodes_.own && options_.crop_size) {
    throw UsageError("--crop_size is for graphs without a node 'images': ", graph_.path(),
                     " crops images itself");
  }
  // One of the two flags alone is the side of what is fed.
  const int side = options_.crop_size ? options_.crop_size : options_.image_size;
  const bool larger = !raw_ && side_in_graph && !options_.crop_size && side > side_in_graph;
  if (side_in_graph && side && side_in_graph != side && !larger) {
    throw UsageError(graph_.path(), " expects images of ", side_in_graph, "x", side_in_graph,
                     ", but ", options_.crop_size ? "--crop_size" : "--image_size", " is ", side);
  }
  side_ = side_in_graph ? side_in_graph : side;
  if (!side_ && nodes_.own) side_ = kDefaultImageSize;
  image_size_ = side_;
  if (raw_) return;
  image_size_ = std::max(side_, kDefaultImageSize);
  if (options_.image_size && (options_.crop_size || larger)) image_size_ = options_.image_size;
  if (image_size_ < side_) {
    throw UsageError("--crop_size=", side_, " is larger than --image_size=", image_size_);
  }
}

// There are no defaults: a wrong guess would silently give wrong predictions.
void Network::AskForMissing() const {
  std::string missing;
  for (const std::string& question : nodes_.questions) missing += " " + question;
  const bool unknown = nodes_.input.empty();
  if (!side_ && !unknown) missing += " --image_size N";
  if (!raw_ && preprocessing_.empty() && !options_.only_timed) {
    missing += " --standardize per_image|none, or --input_mean M --input_std S";
  }
  if (missing.empty()) return;
  throw UsageError(graph_.path(), unknown ? " does not say" : Concat(" is fed at ", Quote(node()),
                   " and does not say"), " all that is needed: add", missing);
}

std::string Network::Describe() const {
  std::string text = "graph: " + Printable(graph_.path()) + "\n";
  if (!nodes_.own || !raw_ || output_.kind() != OutputKind::kLogits) {
    text += Concat("input: ", OneLine(node(), 100), ", ", raw_ ? "uint8 " : "float32 ",
                   ShapeText({-1, side_, side_, 3}), ", ", preprocessing_.Describe(),
                   "\noutput: ", output_.Describe(), "\n");
  }
  std::string defaults;
  for (const std::string& name : nodes_.defaults) {
    defaults += (defaults.empty() ? "" : ", ") + OneLine(name, 50);
  }
  return defaults.empty() ? text : text + "defaults of the graph: " + defaults +
                                       " (--feed changes them)\n";
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
    preprocessing_.Apply(target + size * i, size / 3);
  }
  return input;
}

Probabilities Network::Classify(const uint8_t* images, int64_t count) {
  if (!fixed_batch_) return output_.Read(Run(Input(images, count)), count);
  // A graph of fixed batch size may have it in a Reshape, too: feed it exactly so many images.
  const size_t size = size_t{3} * image_size_ * image_size_;
  Probabilities all;
  for (int64_t first = 0; first < count; first += fixed_batch_) {
    const int64_t used = std::min(fixed_batch_, count - first);
    std::vector<uint8_t> batch(images + size * first, images + size * (first + used));
    for (int64_t i = used; i < fixed_batch_; ++i) {
      batch.insert(batch.end(), images + size * first, images + size * (first + 1));
    }
    const Probabilities some = output_.Read(Run(Input(batch.data(), fixed_batch_)), fixed_batch_);
    all.classes = some.classes;
    all.values.insert(all.values.end(), some.values.begin(),
                      some.values.begin() + static_cast<int64_t>(some.classes) * used);
  }
  return all;
}

}  // namespace label_image
