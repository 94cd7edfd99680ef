// EXIF data is a TIFF file without an image: a header, then directories of tags of 12 bytes.
// https://www.cipa.jp/std/documents/e/DC-008-2012_E.pdf, section 4.6

#include "images/exif.h"

#include <cstdint>

namespace label_image {
namespace {

constexpr uint64_t kMagic = 42, kOrientation = 0x112, kShort = 3;

}  // namespace

int Orientation(std::string_view exif) {
  const bool little = exif.substr(0, 2) == "II";
  if (!little && exif.substr(0, 2) != "MM") return 1;
  // Return a number of `size` bytes; past the end 0, which is not a tag.
  const auto number = [exif, little](uint64_t offset, uint64_t size) {
    uint64_t value = 0;
    for (uint64_t i = 0; i < size && offset + size <= exif.size(); ++i) {
      value = value << 8 | static_cast<unsigned char>(exif[offset + (little ? size - 1 - i : i)]);
    }
    return value;
  };
  if (number(2, 2) != kMagic) return 1;
  const uint64_t directory = number(4, 4), count = number(directory, 2);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t tag = directory + 2 + 12 * i;
    if (number(tag, 2) != kOrientation) continue;
    const uint64_t value = number(tag + 8, 2);
    const bool valid = number(tag + 2, 2) == kShort && number(tag + 4, 4) == 1;
    return valid && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image Upright(Image image, int orientation) {
  if (orientation == 1) return image;
  // To find the source of a pixel, swap the axes first, then reverse each.
  const bool swapped = orientation >= 5;
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image upright;
  upright.width = swapped ? image.height : image.width;
  upright.height = swapped ? image.width : image.height;
  upright.pixels.reserve(image.pixels.size());
  for (int y = 0; y < upright.height; ++y) {
    for (int x = 0; x < upright.width; ++x) {
      int column = swapped ? y : x, row = swapped ? x : y;
      if (flip_x) column = image.width - 1 - column;
      if (flip_y) row = image.height - 1 - row;
      const auto pixel = image.pixels.begin() + (int64_t{row} * image.width + column) * 3;
      upright.pixels.insert(upright.pixels.end(), pixel, pixel + 3);
    }
  }
  return upright;
}

}  // namespace label_image
