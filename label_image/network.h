// A frozen graph as a function from images to probabilities.

#ifndef LABEL_IMAGE_NETWORK_H_
#define LABEL_IMAGE_NETWORK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graph.h"
#include "tensorflow.h"

namespace label_image {

struct NetworkOptions {
  std::string node;         // what to feed; "": `images`, else `inputs`
  std::string output;       // what to fetch; "": `predictions`, else `probabilities`
  int image_size = 0;       // side of the square images, where the graph does not say it
  int crop_size = 0;        // for graphs without `images`: side of the centre that is cut
  std::string standardize;  // for graphs without `images`: "per_image" or "none"
  bool any_op = false;
  int threads = 1;
  bool traced = false;      // whether `Run` will be asked for metadata
  std::string config;       // a serialized ConfigProto instead of ours
};

class Network {
 public:
  // Throws Failure, or UsageError where options do not fit the graph.
  // `only_timed`: no images will come, so that it does not matter how to preprocess them.
  Network(const TensorFlow& tf, const Graph& graph, const NetworkOptions& options,
          bool only_timed = false);

  // Side of the images to give to `Input`.
  int image_size() const { return image_size_; }
  const std::string& node() const { return node_; }
  const std::string& output() const { return output_; }
  // Shape of what is fed for one image.
  Shape input_shape() const { return {1, side_, side_, 3}; }

  // What to feed for `count` images: uint8 RGB [count, image_size, image_size, 3].
  Tensor Input(const uint8_t* images, int64_t count) const;

  // Runs once; see Session::Run.
  Tensor Run(const Tensor& input, std::string_view run_options = {},
             std::string* metadata = nullptr) {
    return session_->Run(input, run_options, metadata);
  }

  // Probabilities [count, classes] of images as for `Input`. `classes` receives their number.
  // Throws Failure where the output is not of that shape.
  std::vector<float> Probabilities(const uint8_t* images, int64_t count, int* classes);

 private:
  void ChooseNodes(const Graph& graph, const NetworkOptions& options);
  int Side(const Graph& graph, const Shape& shape) const;

  const TensorFlow& tf_;
  std::string node_, output_;
  bool raw_ = true;  // fed with uint8 images; else with floats, preprocessed here
  bool per_image_ = false, softmax_ = false;
  int image_size_ = 0, side_ = 0;
  std::unique_ptr<Session> session_;
};

// Mean 0 and deviation 1 for an image of `count` numbers; a flat one is divided by
// 1 / sqrt(count) at most. As tf.image.per_image_standardization.
void StandardizePerImage(float* image, size_t count);

}  // namespace label_image

#endif  // LABEL_IMAGE_NETWORK_H_
