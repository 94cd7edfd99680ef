#include "image.h"

#include <algorithm>
#include <cmath>

#include "error.h"

namespace label_image {
namespace {

// What one pixel of the result takes from a line of pixels.
struct Taps {
  int first;
  std::vector<float> weights;
};

// A triangle as wide as two pixels of the result, or of the source where that is the coarser.
std::vector<Taps> Triangles(int from, int to) {
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
  if (width < 1 || height < 1) throw Failure("the image has no pixels");
  if (width > kMostPixels || height > kMostPixels / width) {
    throw Failure(Format("an image of %lldx%lld is larger than the limit of %lld megapixels",
                         static_cast<long long>(width), static_cast<long long>(height),
                         static_cast<long long>(kMostPixels / 1'000'000)));
  }
}

Image Decode(std::string_view bytes) {
  const auto starts = [bytes](std::string_view magic) {
    return bytes.substr(0, magic.size()) == magic;
  };
  if (starts("\x89PNG\r\n\x1a\n")) return DecodePng(bytes);
  if (starts("\xff\xd8\xff")) return DecodeJpeg(bytes);
  if (starts("BM")) return DecodeBmp(bytes);
  throw Failure(bytes.empty() ? "the file is empty" : "not a PNG, JPEG or BMP image");
}

Image CropSquare(const Image& image) {
  const int side = std::min(image.width, image.height);
  if (image.width == image.height) return image;
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
  const std::vector<Taps> columns = Triangles(image.width, size);
  const std::vector<Taps> rows = Triangles(image.height, size);
  const size_t line = size_t{3} * size;
  std::vector<float> narrow(line * image.height);
  for (int y = 0; y < image.height; ++y) {
    const uint8_t* source = &image.pixels[int64_t{3} * y * image.width];
    float* target = &narrow[line * y];
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
  resized.pixels.resize(line * size);
  for (int y = 0; y < size; ++y) {
    for (size_t x = 0; x < line; ++x) {
      float sum = 0;
      for (size_t i = 0; i < rows[y].weights.size(); ++i) {
        sum += rows[y].weights[i] * narrow[line * (rows[y].first + i) + x];
      }
      resized.pixels[line * y + x] = static_cast<uint8_t>(std::clamp(sum + 0.5f, 0.f, 255.f));
    }
  }
  return resized;
}

}  // namespace label_image
