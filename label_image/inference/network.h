// A model as a function from images to probabilities, whatever its runtime.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "feeding/image_input.h"
#include "inference/output.h"
#include "model_card.h"

namespace label_image {

struct NetworkOptions : InputOptions {
  std::string output_kind;    // see Output
  bool traced = false;        // `Run` will be asked for a trace
  bool only_timed = false;    // the images are random and nobody reads the output
  std::string card_path;      // the file whose json is read, see ReadModelCard
};

class Network {
 public:
  // Throws Error, or UsageError if the options do not fit the graph, or if they leave out what the
  // graph does not say: one message names all that is missing.
  Network(Model* model, const NetworkOptions& options);

  Model& model() const { return model_; }
  // The size of the images that `Input` expects.
  int image_height() const { return input_->any_size() ? kDefaultSide : input_->height(); }
  int image_width() const { return input_->any_size() ? kDefaultSide : input_->width(); }
  // Whether each image is fed in its own size, one at a time.
  bool any_size() const { return input_->any_size(); }
  // The side of the images in batch files, which are square. Throws Error if those do not fit.
  int image_size() const;
  const std::string& name() const { return model_.name(); }
  const std::string& node() const { return model_.nodes().input; }
  const std::string& output() const { return model_.nodes().output; }
  std::string preprocessing() const { return input_->preprocessing().Describe(); }
  const Output& meaning() const { return output_; }  // known after the first Classify
  const ModelCard& card() const { return card_; }
  // Return how many images to classify at a time if `wanted` are asked for: a multiple of the
  // number that the graph accepts, so that none of them is padding.
  int64_t BatchSize(int64_t wanted) const {
    const int64_t only = input_->batch();
    return only ? std::max(only, wanted / only * only) : wanted;
  }
  // The shape that is fed for one image.
  Shape input_shape() const { return input_->shape(1, image_height(), image_width()); }

  // Return lines of text: the graph and, unless it is one of ours, how images are fed and what its
  // output means. Call it after the first Classify.
  std::string Describe() const;

  // Return the tensor to feed for uint8 RGB images [count, height, width, 3], whose size is that
  // above unless any_size. It is valid until the next call. Throws like Session::NewInput, or
  // UsageError if the graph accepts another number of images.
  Tensor Input(const uint8_t* images, int64_t count, int height, int width) const;

  // Run once; see Session::Run.
  Tensor Run(const Tensor& input, std::string* trace = nullptr) {
    return NamingFile(name(), [&] { return session_->Run(input, trace); });
  }

  // Return the probabilities of images as for `Input`. Throws like Output::Read.
  Probabilities Classify(const uint8_t* images, int64_t count, int height, int width);
  Probabilities Classify(const uint8_t* images, int64_t count) {
    return Classify(images, count, image_height(), image_width());
  }

 private:
  static constexpr int kDefaultSide = 32;  // of CIFAR-10: of batch files for a graph of any size

  void AskForMissing() const;
  void CheckNotRandom();
  Tensor Result(const uint8_t* images, int64_t count, int height, int width);

  Model& model_;
  const NetworkOptions options_;
  const ModelCard card_;
  Output output_;
  std::optional<ImageInput> input_;  // always there after AskForMissing
  std::unique_ptr<Session> session_;
};

}  // namespace label_image
