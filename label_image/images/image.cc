#include "images/image.h"

#include <algorithm>
#include <cmath>

#include "error.h"

namespace label_image {
namespace {

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

}  // namespace

void CheckSize(int64_t width, int64_t height) {
  if (width < 1 || height < 1) throw Error("the image has no pixels");
  if (width > kMaxPixels || height > kMaxPixels / width) {
    throw Error(Format("an image of %lldx%lld pixels is larger than the limit of %lld megapixels",
                         static_cast<long long>(width), static_cast<long long>(height),
                         static_cast<long long>(kMaxPixels / 1'000'000)));
  }
}

Image Decode(std::string_view file) {
  const auto starts = [file](std::string_view magic) {
    return file.substr(0, magic.size()) == magic;
  };
  if (starts("\x89PNG\r\n\x1a\n")) return DecodePng(file);
  if (starts("\xff\xd8\xff")) return DecodeJpeg(file);
  if (starts("BM")) return DecodeBmp(file);
  throw Error(file.empty() ? "the file is empty" : "not a PNG, JPEG or BMP image");
}

Image CropSquare(const Image& image) {
  if (image.width == image.height) return image;
  const int side = std::min(image.width, image.height);
  const int top = (image.height - side) / 2, left = (image.width - side) / 2;
  Image square;
  square.width = square.height = side;
  square.pixels.reserve(size_t{3} * side * side);
  for (int y = 0; y < side; ++y) {
    const auto row = image.pixels.begin() + (int64_t{y} + top) * image.width * 3 + left * 3;
    square.pixels.insert(square.pixels.end(), row, row + side * 3);
  }
  return square;
}

Image Resize(const Image& image, int size) {
  if (image.width == size && image.height == size) return image;
  const std::vector<Taps> columns = TriangleFilter(image.width, size);
  const std::vector<Taps> rows = TriangleFilter(image.height, size);
  const size_t row_size = size_t{3} * size;
  std::vector<float> narrow(row_size * image.height);
  for (int y = 0; y < image.height; ++y) {
    const uint8_t* source = &image.pixels[int64_t{3} * y * image.width];
    float* target = &narrow[row_size * y];
    for (int x = 0; x < size; ++x) {
      for (int c = 0; c < 3; ++c) {
        float sum = 0;
        for (size_t i = 0; i < columns[x].weights.size(); ++i) {
          sum += columns[x].weights[i] * source[3 * (columns[x].first + i) + c];
        }
        target[3 * x + c] = sum;
      }
    }
  }
  Image resized;
  resized.width = resized.height = size;
  resized.pixels.resize(row_size * size);
  for (int y = 0; y < size; ++y) {
    for (size_t x = 0; x < row_size; ++x) {
      float sum = 0;
      for (size_t i = 0; i < rows[y].weights.size(); ++i) {
        sum += rows[y].weights[i] * narrow[row_size * (rows[y].first + i) + x];
      }
      resized.pixels[row_size * y + x] = static_cast<uint8_t>(std::clamp(sum + 0.5f, 0.f, 255.f));
    }
  }
  return resized;
}

}  // namespace label_image
