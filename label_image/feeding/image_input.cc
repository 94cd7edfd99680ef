#include "feeding/image_input.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "error.h"
#include "half.h"

namespace label_image {
namespace {

constexpr int kDefaultSide = 32;  // of CIFAR-10
constexpr int64_t kMaxBatch = 100000;  // the largest --batch_size

struct StatedSize {
  const char* flag = nullptr;
  int64_t height = -1, width = -1;
};

StatedSize Stated(const InputOptions& options) {
  if (options.crop_size) return {"crop_size", options.crop_size, options.crop_size};
  if (options.image_size) return {"image_size", options.image_size, options.image_size};
  const int height = options.input_height ? options.input_height : options.input_width;
  const int width = options.input_width ? options.input_width : options.input_height;
  if (!height) return {};
  return {options.input_width ? "input_width" : "input_height", height, width};
}

std::string SizeText(int64_t height, int64_t width) {
  const auto text = [](int64_t side) { return side < 0 ? "?" : std::to_string(side); };
  return text(width) + "x" + text(height);
}

// Write the numbers of an image [pixels, channels], converted; `by_channel`: as [channels, pixels].
template <typename To, typename From, typename Convert>
void Arrange(const std::vector<From>& image, size_t channels, bool by_channel, size_t index,
             void* target, Convert convert) {
  To* out = static_cast<To*>(target) + index * image.size();
  const size_t pixels = image.size() / channels;
  for (size_t i = 0; i < image.size(); ++i) {
    out[by_channel ? i % channels * pixels + i / channels : i] = convert(image[i]);
  }
}

}  // namespace

ImageInput::ImageInput(const std::string& path, const std::string& name, bool own,
                       const InputInfo& info, const InputOptions& options)
    : path_(path), name_(name),
      preprocessing_(options.standardize, options.input_mean, options.input_std),
      type_(info.type ? info.type : kFloat), raw_(type_ == kUint8) {
  FindLayout(info.shape);
  FindSizes(own, options);
}

void ImageInput::FindLayout(const Shape& shape) {
  if (!raw_ && type_ != kFloat && type_ != kHalf && type_ != kDouble) {
    throw Error(path_, ": node ", Quote(name_), " has type ", TypeName(type_),
                ", but only uint8 images and floats can be fed: convert the model with a uint8 or "
                "float input");
  }
  if (raw_ && !preprocessing_.empty()) {
    throw UsageError("--standardize, --input_mean and --input_std are for graphs that are fed "
                     "floats: ", path_, " receives pixels as they are");
  }
  const std::optional<Layout> layout = LayoutOf(shape);
  if (!layout) {
    throw Error(path_, ": node ", Quote(name_), " has shape ", ShapeText(shape),
                ", but only images can be fed: [N, height, width, 3], also [N, 3, height, width], "
                "with 1 channel, or in a row");
  }
  if (layout->batch > kMaxBatch) {
    throw Error(path_, ": node ", Quote(name_), " has shape ", ShapeText(shape), ", but at most ",
                kMaxBatch, " images can be fed at a time: convert the model with another batch "
                "size");
  }
  layout_ = *layout;
  if (layout_.channels == 1) preprocessing_.RequireOneChannel();
  if (!layout_.batched) layout_.batch = 1;
}

void ImageInput::FindSizes(bool own, const InputOptions& options) {
  const StatedSize stated = Stated(options);
  if (options.crop_size && own) {
    throw UsageError("--crop_size is for graphs without a node 'images': ", path_,
                     " crops images itself");
  }
  if (options.crop_size && raw_) {
    throw UsageError("--crop_size is for graphs that are fed floats: ", path_,
                     " receives whole images: give --image_size");
  }
  const int64_t graph_height = layout_.height, graph_width = layout_.width;
  const bool larger = stated.flag && layout_.has_size() && !options.crop_size && !raw_ &&
                      stated.height > graph_height && stated.width > graph_width;
  const auto differs = [](int64_t a, int64_t b) { return a >= 0 && a != b; };
  if (stated.flag && !larger &&
      (differs(graph_height, stated.height) || differs(graph_width, stated.width))) {
    throw UsageError(path_, " expects images of ", SizeText(graph_height, graph_width), ", but --",
                     stated.flag, " is ", SizeText(stated.height, stated.width));
  }
  if (graph_height < 0) layout_.height = stated.height;
  if (graph_width < 0) layout_.width = stated.width;
  if (own && !layout_.has_size()) layout_.height = layout_.width = kDefaultSide;
  if (!layout_.has_size()) {  // raw of any size, or to be asked for
    layout_.height = layout_.width = -1;
    return;
  }
  height_ = static_cast<int>(layout_.height);
  width_ = static_cast<int>(layout_.width);
  if (raw_) return;
  if (height_ == width_ && layout_.channels == 3) {
    height_ = width_ = std::max(height_, kDefaultSide);
  }
  if (larger || (options.crop_size && options.image_size)) {
    height_ = options.image_size ? options.image_size : static_cast<int>(stated.height);
    width_ = options.image_size ? options.image_size : static_cast<int>(stated.width);
  }
  if (height_ < layout_.height || width_ < layout_.width) {
    throw UsageError("--crop_size=", layout_.height, " is larger than --image_size=", height_);
  }
}

InputInfo ImageInput::info() const {
  return {type_, layout_.shape(layout_.batch ? layout_.batch : -1), layout_.batched};
}

Shape ImageInput::shape(int64_t count, int height, int width) const {
  Layout layout = layout_;
  if (!layout.has_size()) layout.height = height, layout.width = width;
  return layout.shape(count);
}

void ImageInput::Fill(const uint8_t* images, int64_t count, int height, int width,
                      void* target) const {
  const size_t size = size_t{3} * height * width;
  if (raw_ && layout_.order == "HWC" && layout_.channels == 3) {
    memcpy(target, images, size * count);
    return;
  }
  for (int64_t i = 0; i < count; ++i) FillOne(images + size * i, height, width, i, target);
}

void ImageInput::FillOne(const uint8_t* image, int height, int width, size_t index,
                         void* target) const {
  const int rows = layout_.has_size() ? static_cast<int>(layout_.height) : height;
  const int columns = layout_.has_size() ? static_cast<int>(layout_.width) : width;
  const int top = (height - rows) / 2, left = (width - columns) / 2;
  std::vector<uint8_t> pixels;
  pixels.reserve(size_t{1} * layout_.channels * rows * columns);
  for (int y = 0; y < rows; ++y) {
    const uint8_t* row = image + size_t{3} * ((top + y) * width + left);
    if (layout_.channels == 3) {
      pixels.insert(pixels.end(), row, row + 3 * columns);
    } else {
      for (int x = 0; x < columns; ++x) pixels.push_back(Luminance(row + 3 * x));
    }
  }
  const size_t channels = layout_.channels;
  const bool by_channel = layout_.order == "CHW";
  if (raw_) {
    Arrange<uint8_t>(pixels, channels, by_channel, index, target, [](uint8_t v) { return v; });
    return;
  }
  std::vector<float> floats(pixels.begin(), pixels.end());
  preprocessing_.Apply(floats.data(), floats.size() / channels, channels);
  if (type_ == kHalf) {
    Arrange<uint16_t>(floats, channels, by_channel, index, target, ToHalf);
  } else if (type_ == kDouble) {
    Arrange<double>(floats, channels, by_channel, index, target, [](double v) { return v; });
  } else {
    Arrange<float>(floats, channels, by_channel, index, target, [](float v) { return v; });
  }
}

std::string ImageInput::Describe() const {
  const Shape shape = layout_.shape(layout_.batch ? layout_.batch : -1);
  const char* assumed =
      raw_ || !preprocessing_.empty() ? "" : ", assumed (see --input_mean and --standardize)";
  return Concat(OneLine(name_, 100), ", ", TypeName(type_), " ", ShapeText(shape, layout_.batched),
                layout_.channels == 1 ? ", luminance" : "", ", ",
                any_size() ? "images as they are, one at a time" : preprocessing_.Describe(),
                assumed);
}

}  // namespace label_image
