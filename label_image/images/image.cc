#include "images/image.h"

#include <algorithm>
#include <cmath>

#include "error.h"

namespace label_image {
namespace {

constexpr int64_t kMaxPixels = 100'000'000;

// The source pixels of one pixel of the result, along one axis.
struct Taps {
  int first;
  std::vector<float> weights;  // sum 1
};

// Return the taps of a triangle filter that is as wide as two pixels, of the source or of the
// result, whichever are larger.
std::vector<Taps> TriangleFilter(int from, int to) {
  const double scale = static_cast<double>(from) / to, support = std::max(scale, 1.);
  std::vector<Taps> taps(to);
  for (int i = 0; i < to; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - support + 0.5));
    const int end = std::min(from, static_cast<int>(centre + support + 0.5));
    taps[i].first = first;
    double sum = 0;
    for (int j = first; j < end; ++j) {
      const double weight = std::max(0., 1 - std::abs((j + 0.5 - centre) / support));
      taps[i].weights.push_back(static_cast<float>(weight));
      sum += weight;
    }
    for (float& weight : taps[i].weights) weight = static_cast<float>(weight / sum);
  }
  return taps;
}

// Resize the width of an image [height, width, 3]. Returns it transposed: [size, height, 3].
template <typename Level>
std::vector<float> ResizeWidth(const std::vector<Level>& image, int height, int width, int size) {
  const std::vector<Taps> taps = TriangleFilter(width, size);
  std::vector<float> resized(size_t{3} * size * height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < size; ++x) {
      const Level* source = &image[3 * (int64_t{y} * width + taps[x].first)];
      float* target = &resized[3 * (int64_t{x} * height + y)];
      for (int c = 0; c < 3; ++c) {
        for (size_t i = 0; i < taps[x].weights.size(); ++i) {
          target[c] += taps[x].weights[i] * source[3 * i + c];
        }
      }
    }
  }
  return resized;
}

}  // namespace

void CheckSize(int64_t width, int64_t height) {
  if (width < 1 || height < 1) throw Error("the image has no pixels");
  if (width > kMaxPixels || height > kMaxPixels / width) {
    throw Error("an image of ", width, "x", height, " pixels is larger than the limit of ",
                kMaxPixels / 1'000'000, " megapixels");
  }
}

Image Decode(std::string_view file) {
  if (file.substr(0, 8) == "\x89PNG\r\n\x1a\n") return DecodePng(file);
  if (file.substr(0, 3) == "\xff\xd8\xff") return DecodeJpeg(file);
  if (file.substr(0, 2) == "BM") return DecodeBmp(file);
  throw Error(file.empty() ? "the file is empty" : "not a PNG, JPEG or BMP image");
}

Image Crop(const Image& image, int height, int width) {
  const auto part = [](int side, int64_t other, int mine, int its) {
    return static_cast<int>(std::min<int64_t>(side, std::max<int64_t>(1, other * mine / its)));
  };
  const int columns = part(image.width, image.height, width, height);
  const int rows = part(image.height, image.width, height, width);
  if (rows == image.height && columns == image.width) return image;
  const int top = (image.height - rows) / 2, left = (image.width - columns) / 2;
  Image cropped = {columns, rows, {}};
  cropped.pixels.reserve(size_t{3} * rows * columns);
  for (int y = 0; y < rows; ++y) {
    const auto row = image.pixels.begin() + (int64_t{y} + top) * image.width * 3 + left * 3;
    cropped.pixels.insert(cropped.pixels.end(), row, row + columns * 3);
  }
  return cropped;
}

Image Resize(const Image& image, int height, int width) {
  if (image.width == width && image.height == height) return image;
  const std::vector<float> narrow = ResizeWidth(image.pixels, image.height, image.width, width);
  Image resized = {width, height, {}};
  for (float level : ResizeWidth(narrow, width, image.height, height)) {
    resized.pixels.push_back(static_cast<uint8_t>(std::clamp(level + 0.5f, 0.f, 255.f)));
  }
  return resized;
}

}  // namespace label_image
