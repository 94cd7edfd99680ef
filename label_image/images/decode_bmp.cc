// BMP decoder: 1, 4 and 8 bits with a palette; 16, 24 and 32 bits; no run-length encodings.
// https://learn.microsoft.com/windows/win32/api/wingdi/ns-wingdi-bitmapinfoheader

#include <algorithm>
#include <array>

#include "error.h"
#include "file.h"
#include "images/image.h"

namespace label_image {
namespace {

// The bits of one colour in a pixel of 16 or 32 bits.
struct Mask {
  int shift = 0;
  uint32_t max = 0;

  explicit Mask(uint32_t bits) {
    if (!bits) return;
    shift = __builtin_ctz(bits);
    max = bits >> shift;
    if (max & (max + 1)) throw Error("bad BMP image: a colour mask has gaps");
  }
  uint8_t Level(uint32_t pixel) const {
    const uint64_t bits = pixel >> shift & max;
    if (max == 0 || max == 255) return static_cast<uint8_t>(bits);  // saves the slow division
    return static_cast<uint8_t>((bits * 255 + max / 2) / max);
  }
};

}  // namespace

Image DecodeBmp(std::string_view file) {
  const auto number = [file](int64_t offset, int64_t size) -> int64_t {
    const auto end = static_cast<int64_t>(file.size());
    if (offset < 0 || offset + size > end) throw Error("bad BMP image: the file is truncated");
    return LittleEndian(file.substr(offset, size));
  };
  int64_t offset = number(10, 4);
  const int64_t header = number(14, 4);
  const bool core = header == 12;
  if (!core && (header < 40 || header > 1000)) {
    throw Error("bad BMP image: its header has an unknown format");
  }
  const int64_t width = core ? number(18, 2) : static_cast<int32_t>(number(18, 4));
  int64_t height = core ? number(20, 2) : static_cast<int32_t>(number(22, 4));
  const int64_t bits = number(core ? 24 : 28, 2);
  const int64_t compression = core ? 0 : number(30, 4);
  const bool top_down = height < 0;
  if (top_down) height = -height;
  CheckSize(width, height);
  if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32) {
    throw Error("bad BMP image: it has ", bits, " bits per pixel");
  }
  const bool masks = compression == 3 || compression == 6;
  if (compression != 0 && !(masks && (bits == 16 || bits == 32))) {
    throw Error("compressed BMP images are not supported: save it uncompressed, or as PNG");
  }
  // The masks follow the first 40 bytes of the header, whether it ends there or not.
  const Mask colours[3] = {Mask(masks ? number(54, 4) : bits == 16 ? 0x7c00 : 0xff0000),
                           Mask(masks ? number(58, 4) : bits == 16 ? 0x3e0 : 0xff00),
                           Mask(masks ? number(62, 4) : bits == 16 ? 0x1f : 0xff)};
  const int64_t palette = std::max(14 + header, int64_t{masks ? 66 : 0}), entry = core ? 3 : 4;
  int64_t palette_size = core || bits > 8 ? 0 : number(46, 4);
  if (bits <= 8 && (palette_size == 0 || palette_size > 1 << bits)) palette_size = 1 << bits;
  if (offset <= palette) offset = palette + entry * palette_size;  // some programs write 0 or 54
  const int64_t stride = (width * bits + 31) / 32 * 4;
  number(offset + stride * height - 1, 1);  // throws before memory is allocated

  std::array<uint32_t, 256> colour_of{};  // those that the palette or the file lacks are black
  for (int64_t i = 0; i < palette_size; ++i) {
    const int64_t start = palette + entry * i;
    if (start + 3 <= static_cast<int64_t>(file.size())) colour_of[i] = number(start, 3);
  }
  Image image = {static_cast<int>(width), static_cast<int>(height), {}};
  image.pixels.reserve(3 * width * height);
  for (int64_t y = 0; y < height; ++y) {
    const int64_t row = offset + stride * (top_down ? y : height - 1 - y);
    for (int64_t x = 0; x < width; ++x) {
      const int64_t bit = x * bits;
      int64_t pixel = number(row + bit / 8, (bits + 7) / 8);
      if (bits <= 8) pixel = colour_of[pixel >> (8 - bits - bit % 8) & ((1 << bits) - 1)];
      for (const Mask& colour : colours) image.pixels.push_back(colour.Level(pixel));
    }
  }
  return image;
}

}  // namespace label_image
