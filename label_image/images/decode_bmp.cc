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

  Mask() = default;
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

struct Header {
  int64_t width = 0, height = 0, bits = 0;  // bits: of a pixel
  bool top_down = false;                    // else the last row comes first
  int64_t offset = 0, stride = 0;           // of the first row in the file; bytes of a row
  int64_t palette = 0, palette_entry = 0, palette_size = 0;  // offset, bytes of an entry, entries
  std::array<Mask, 3> colours;                               // red, green and blue

  int64_t end() const { return offset + stride * height; }
};

using Palette = std::array<uint32_t, 256>;

int64_t Number(std::string_view file, int64_t offset, int64_t size) {
  const auto end = static_cast<int64_t>(file.size());
  if (offset < 0 || offset + size > end) throw Error("bad BMP image: the file is truncated");
  return LittleEndian(file.substr(offset, size));
}

Header ReadHeader(std::string_view file) {
  const auto number = [file](int64_t offset, int64_t size) { return Number(file, offset, size); };
  Header header;
  header.offset = number(10, 4);
  const int64_t size = number(14, 4);
  const bool core = size == 12;
  if (!core && (size < 40 || size > 1000)) {
    throw Error("bad BMP image: its header has an unknown format");
  }
  header.width = core ? number(18, 2) : static_cast<int32_t>(number(18, 4));
  header.height = core ? number(20, 2) : static_cast<int32_t>(number(22, 4));
  const int64_t bits = header.bits = number(core ? 24 : 28, 2);
  const int64_t compression = core ? 0 : number(30, 4);
  header.top_down = header.height < 0;
  if (header.top_down) header.height = -header.height;
  CheckSize(header.width, header.height);
  if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32) {
    throw Error("bad BMP image: it has ", bits, " bits per pixel");
  }
  const bool masks = compression == 3 || compression == 6;
  if (compression != 0 && !(masks && (bits == 16 || bits == 32))) {
    throw Error("compressed BMP images are not supported: save it uncompressed, or as PNG");
  }
  // The masks follow the first 40 bytes of the header, whether it ends there or not.
  header.colours = {Mask(masks ? number(54, 4) : bits == 16 ? 0x7c00 : 0xff0000),
                    Mask(masks ? number(58, 4) : bits == 16 ? 0x3e0 : 0xff00),
                    Mask(masks ? number(62, 4) : bits == 16 ? 0x1f : 0xff)};
  header.palette = std::max(14 + size, int64_t{masks ? 66 : 0});
  header.palette_entry = core ? 3 : 4;
  int64_t entries = core || bits > 8 ? 0 : number(46, 4);
  if (bits <= 8 && (entries == 0 || entries > 1 << bits)) entries = 1 << bits;
  header.palette_size = entries;
  if (header.offset <= header.palette) {  // some programs write 0 or 54
    header.offset = header.palette + header.palette_entry * entries;
  }
  header.stride = (header.width * bits + 31) / 32 * 4;
  return header;
}

// Colours that the palette or the file lacks are black.
Palette ReadPalette(std::string_view file, const Header& header) {
  Palette palette{};
  for (int64_t i = 0; i < header.palette_size; ++i) {
    const int64_t start = header.palette + header.palette_entry * i;
    if (start + 3 <= static_cast<int64_t>(file.size())) palette[i] = Number(file, start, 3);
  }
  return palette;
}

}  // namespace

Image DecodeBmp(std::string_view file) {
  const Header header = ReadHeader(file);
  const int64_t width = header.width, height = header.height, bits = header.bits;
  Number(file, header.end() - 1, 1);  // throws before memory is allocated
  const Palette palette = ReadPalette(file, header);
  Image image = {static_cast<int>(width), static_cast<int>(height), {}};
  image.pixels.reserve(3 * width * height);
  for (int64_t y = 0; y < height; ++y) {
    const int64_t row = header.offset + header.stride * (header.top_down ? y : height - 1 - y);
    for (int64_t x = 0; x < width; ++x) {
      const int64_t bit = x * bits;
      int64_t pixel = Number(file, row + bit / 8, (bits + 7) / 8);
      if (bits <= 8) pixel = palette[pixel >> (8 - bits - bit % 8) & ((1 << bits) - 1)];
      for (const Mask& colour : header.colours) image.pixels.push_back(colour.Level(pixel));
    }
  }
  return image;
}

}  // namespace label_image
