// BMP decoder: 1, 4 and 8 bits with a palette; 16, 24 and 32 bits; no run-length encodings.
// https://learn.microsoft.com/windows/win32/api/wingdi/ns-wingdi-bitmapinfoheader

#include "error.h"
#include "images/image.h"

namespace label_image {
namespace {

// Little-endian numbers at an offset. Throws Error past the end.
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}

  uint32_t U8(int64_t offset) const {
    if (offset < 0 || offset >= static_cast<int64_t>(bytes_.size())) {
      throw Error("bad BMP image: the file is truncated");
    }
    return static_cast<unsigned char>(bytes_[offset]);
  }
  uint32_t U16(int64_t offset) const { return U8(offset) | U8(offset + 1) << 8; }
  uint32_t U32(int64_t offset) const { return U16(offset) | U16(offset + 2) << 16; }
  int32_t I32(int64_t offset) const { return static_cast<int32_t>(U32(offset)); }

 private:
  std::string_view bytes_;
};

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
    if (!max) return 0;
    return static_cast<uint8_t>((uint64_t{pixel >> shift & max} * 255 + max / 2) / max);
  }
};

}  // namespace

Image DecodeBmp(std::string_view file) {
  const Bytes bytes(file);
  const int64_t offset = bytes.U32(10), header = bytes.U32(14);
  const bool core = header == 12;
  if (!core && (header < 40 || header > 1000)) {
    throw Error("bad BMP image: its header has an unknown format");
  }
  // int64_t on both sides of the colons: with an unsigned type, a height of -11 would be 2^32 - 11.
  const int64_t width = core ? int64_t{bytes.U16(18)} : bytes.I32(18);
  int64_t height = core ? int64_t{bytes.U16(20)} : bytes.I32(22);
  const int bits = bytes.U16(core ? 24 : 28);
  const uint32_t compression = core ? 0 : bytes.U32(30);
  const bool top_down = height < 0;
  if (top_down) height = -height;
  CheckSize(width, height);
  if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32) {
    throw Error(Format("bad BMP image: it has %d bits per pixel", bits));
  }
  const bool masks = compression == 3 || compression == 6;
  if (compression != 0 && !(masks && (bits == 16 || bits == 32))) {
    throw Error("compressed BMP images are not supported: save it uncompressed, or as PNG");
  }
  // The masks follow the first 40 bytes of the header, whether it ends there or not.
  const uint32_t red = masks ? bytes.U32(54) : bits == 16 ? 0x7c00 : 0xff0000;
  const uint32_t green = masks ? bytes.U32(58) : bits == 16 ? 0x3e0 : 0xff00;
  const uint32_t blue = masks ? bytes.U32(62) : bits == 16 ? 0x1f : 0xff;
  const Mask colours[3] = {Mask(red), Mask(green), Mask(blue)};
  int64_t palette_size = 0;
  if (bits <= 8) {
    palette_size = core ? 0 : bytes.U32(46);
    if (palette_size == 0 || palette_size > 1 << bits) palette_size = 1 << bits;
  }
  const int64_t palette = 14 + header, entry = core ? 3 : 4;
  const int64_t stride = (width * bits + 31) / 32 * 4;
  bytes.U8(offset + stride * height - 1);  // throws before memory is allocated

  Image image;
  image.width = static_cast<int>(width);
  image.height = static_cast<int>(height);
  image.pixels.reserve(3 * width * height);
  for (int64_t y = 0; y < height; ++y) {
    const int64_t row = offset + stride * (top_down ? y : height - 1 - y);
    for (int64_t x = 0; x < width; ++x) {
      if (bits == 16 || bits == 32) {
        const uint32_t pixel = bits == 16 ? bytes.U16(row + 2 * x) : bytes.U32(row + 4 * x);
        for (const Mask& colour : colours) image.pixels.push_back(colour.Level(pixel));
        continue;
      }
      int64_t bgr = row + 3 * x;
      if (bits <= 8) {
        const int64_t bit = x * bits;
        const uint32_t shift = 8 - bits - bit % 8;
        const int64_t index = bytes.U8(row + bit / 8) >> shift & ((1 << bits) - 1);
        if (index >= palette_size) {
          throw Error("bad BMP image: the colour of a pixel is not in its palette");
        }
        bgr = palette + entry * index;
      }
      for (int c = 2; c >= 0; --c) image.pixels.push_back(bytes.U8(bgr + c));
    }
  }
  return image;
}

}  // namespace label_image
