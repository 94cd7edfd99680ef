// A frozen graph as a function from images to probabilities.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "runtime/tensorflow.h"

namespace label_image {

struct NetworkOptions {
  std::string node;           // to feed; "": `images`, else `inputs`
  std::string output;         // to fetch; "": `predictions`, else `probabilities`
  int image_size = 0;         // side of the images, if the graph does not define it
  int crop_size = 0;          // for graphs without `images`: side of the central crop
  std::string standardize;    // for graphs without `images`: "per_image" or "none"
  bool allow_any_op = false;  // see graph/subgraph.h
  int threads = 0;
  bool traced = false;        // `Run` will be asked for metadata
  bool only_timed = false;    // the images are random, so `standardize` may be missing
  std::string config;         // serialized ConfigProto; "": the one of session_config.h
};

struct Probabilities {
  size_t classes = 0;
  std::vector<float> values;  // [images, classes]

  const float* row(size_t image) const { return &values[image * classes]; }
};

class Network {
 public:
  // Throws Error, or UsageError if the options do not fit the graph.
  Network(const TensorFlow& tf, const Graph& graph, const NetworkOptions& options);

  const TensorFlow& tf() const { return tf_; }
  const Graph& graph() const { return graph_; }
  // The side of the square images that `Input` expects.
  int image_size() const { return image_size_; }
  const std::string& node() const { return node_; }
  const std::string& output() const { return output_; }
  // The shape that is fed for one image.
  Shape input_shape() const { return {1, side_, side_, 3}; }

  // Return the tensor to feed for uint8 RGB images [count, image_size, image_size, 3].
  Tensor Input(const uint8_t* images, int64_t count) const;

  // Run once; see Session::Run.
  Tensor Run(const Tensor& input, std::string_view run_options = {},
             std::string* metadata = nullptr) {
    return session_->Run(input, run_options, metadata);
  }

  // Return the probabilities of images as for `Input`. Throws Error if the output of the graph is
  // not of the shape [count, classes].
  Probabilities Classify(const uint8_t* images, int64_t count);

 private:
  void ChooseNodes();
  int InputSide(const Shape& shape) const;
  void SetSizes(int side_in_graph);  // 0: the graph does not define it

  const TensorFlow& tf_;
  const Graph& graph_;
  const NetworkOptions options_;
  std::string node_, output_;
  bool raw_ = true;  // fed with uint8 images; otherwise with floats that `Input` preprocesses
  bool softmax_ = false;
  int image_size_ = 0, side_ = 0;  // of the images given to `Input`, and of what is fed
  std::unique_ptr<Session> session_;
};

}  // namespace label_image
