// The input of a model as a function from decoded images to what is fed: size, layout and type.
// permafrost/evaluation/frozen_graphs/feeding/image_input.py has the same rules.
#pragma once

#include <cstdint>
#include <string>

#include "backends/backend.h"
#include "feeding/layout.h"
#include "feeding/preprocessing.h"

namespace label_image {

struct InputOptions {
  int image_size = 0;  // side of the images; alone also the side of what is fed
  int crop_size = 0;   // side of the central crop that is fed, if the graph does not say it
  int input_width = 0, input_height = 0;           // of what is fed, if the graph does not say it
  std::string standardize, input_mean, input_std;  // see Preprocessing
};

class ImageInput {
 public:
  // `path` and `name` are those of the model and its input; `own`: it is a graph of
  // freeze_graph.py, fed at `images`. Throws Error if images cannot be fed there, UsageError if an
  // option does not fit.
  ImageInput(const std::string& path, const std::string& name, bool own, const InputInfo& info,
             const InputOptions& options);

  // Whether each image is fed in its own size, one at a time.
  bool any_size() const { return raw_ && !layout_.has_size(); }
  // Whether the size must be stated.
  bool lacks_size() const { return !raw_ && !layout_.has_size(); }
  // The only number of images that can be fed at once; 0: any.
  int64_t batch() const { return any_size() ? 1 : layout_.batch; }
  bool batched() const { return layout_.batched; }
  bool raw() const { return raw_; }  // fed with pixels as they are
  // The size of the images to give to Fill; 0: any.
  int height() const { return height_; }
  int width() const { return width_; }
  const Preprocessing& preprocessing() const { return preprocessing_; }

  // Return the type and shape to open the model with.
  InputInfo info() const;
  // Return the shape that is fed for `count` images of this size.
  Shape shape(int64_t count, int height, int width) const;
  // Write what is fed for RGB images [count, height, width, 3]: their centres, if they are larger.
  void Fill(const uint8_t* images, int64_t count, int height, int width, void* target) const;

  // Return e.g. "x, float32 [N, 32, 32, 3], (x - 128) / 127.5".
  std::string Describe() const;

 private:
  void FindLayout(const Shape& shape);
  void FindSizes(bool own, const InputOptions& options);
  void FillOne(const uint8_t* image, int height, int width, size_t index, void* target) const;

  const std::string path_, name_;
  const Preprocessing preprocessing_;
  const int type_;
  const bool raw_;
  Layout layout_;
  int height_ = 0, width_ = 0;
};

}  // namespace label_image
