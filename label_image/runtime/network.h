// A frozen graph as a function from images to probabilities.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "runtime/nodes.h"
#include "runtime/output.h"
#include "runtime/preprocessing.h"
#include "runtime/tensorflow.h"

namespace label_image {

struct NetworkOptions {
  std::string node, output;   // to feed and to fetch; "": see FindNodes
  int image_size = 0;         // side of the images; alone also the side of what is fed
  int crop_size = 0;          // side of the central crop that is fed, if the graph does not say it
  std::string standardize, input_mean, input_std;  // see Preprocessing
  std::string output_kind;    // see Output
  bool allow_any_op = false;  // see graph/subgraph.h
  int threads = 0;
  bool traced = false;        // `Run` will be asked for metadata
  bool only_timed = false;    // the images are random and nobody reads the output
  std::string config;         // serialized ConfigProto; "": the one of session_config.h
};

class Network {
 public:
  // Throws Error, or UsageError if the options do not fit the graph, or if they leave out what the
  // graph does not say: one message names all that is missing.
  Network(const TensorFlow& tf, const Graph& graph, const NetworkOptions& options);

  const TensorFlow& tf() const { return tf_; }
  const Graph& graph() const { return graph_; }
  // The side of the square images that `Input` expects.
  int image_size() const { return image_size_; }
  const std::string& node() const { return nodes_.input; }
  const std::string& output() const { return nodes_.output; }
  std::string preprocessing() const { return preprocessing_.Describe(); }
  const Output& meaning() const { return output_; }  // known after the first Classify
  // The shape that is fed for one image.
  Shape input_shape() const { return {1, side_, side_, 3}; }

  // Return lines of text: the graph and, unless it is one of ours, how images are fed and what its
  // output means. Call it after the first Classify.
  std::string Describe() const;

  // Return the tensor to feed for uint8 RGB images [count, image_size, image_size, 3].
  Tensor Input(const uint8_t* images, int64_t count) const;

  // Run once; see Session::Run.
  Tensor Run(const Tensor& input, std::string_view run_options = {},
             std::string* metadata = nullptr) {
    return session_->Run(input, run_options, metadata);
  }

  // Return the probabilities of images as for `Input`. Throws like Output::Read.
  Probabilities Classify(const uint8_t* images, int64_t count);

 private:
  void ReadType();
  int InputSide(const Shape& shape) const;
  void SetSizes(int side_in_graph);  // 0: the graph does not define it
  void AskForMissing() const;
  void CheckNotRandom();

  const TensorFlow& tf_;
  const Graph& graph_;
  const NetworkOptions options_;
  const Preprocessing preprocessing_;
  const Nodes nodes_;
  Output output_;
  bool raw_ = false;  // fed with uint8 images; otherwise with floats that `Input` preprocesses
  int64_t fixed_batch_ = 0;  // the only batch size that the graph allows; 0: any
  int image_size_ = 0, side_ = 0;  // of the images given to `Input`, and of what is fed
  std::unique_ptr<Session> session_;
};

}  // namespace label_image
