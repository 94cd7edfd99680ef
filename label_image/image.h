// Images: decoded from PNG, JPEG or BMP, cut to a square and resized.

#ifndef LABEL_IMAGE_IMAGE_H_
#define LABEL_IMAGE_IMAGE_H_

#include <cstdint>
#include <string_view>
#include <vector>

namespace label_image {

struct Image {
  int width = 0, height = 0;
  std::vector<uint8_t> pixels;  // RGB, row by row: height * width * 3
};

// No photograph has more; what claims more is damaged or an attack.
constexpr int64_t kMostPixels = 100'000'000;

// Throws Failure where the sides are not positive or make more than kMostPixels.
void CheckSize(int64_t width, int64_t height);

// Decodes a whole file as RGB: grey and palettes are expanded, CMYK converted, 16 bits cut to 8
// and transparency ignored, as TensorFlow's decoders do; unlike theirs, a JPEG is turned as its
// EXIF data says. Throws Failure on what is not a PNG, JPEG or BMP, is truncated, or has more
// than kMostPixels.
Image Decode(std::string_view bytes);

// The three of them; see Decode.
Image DecodePng(std::string_view bytes);
Image DecodeJpeg(std::string_view bytes);
Image DecodeBmp(std::string_view bytes);

// The largest square in the middle; where the sides differ by an odd number the upper left one.
Image CropSquare(const Image& image);

// The image with sides of `size` pixels: the very pixels where it has that size already, else
// interpolated linearly, over as many pixels as one of the result covers (antialiased).
Image Resize(const Image& image, int size);

}  // namespace label_image

#endif  // LABEL_IMAGE_IMAGE_H_
