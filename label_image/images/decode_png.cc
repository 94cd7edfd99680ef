// PNG decoder, with libpng.

#include <png.h>
#include <setjmp.h>

#include <cstring>
#include <string>

#include "error.h"
#include "images/image.h"

namespace label_image {
namespace {

// A small letter at the start of a chunk's name marks what a decoder may ignore.
bool IsCritical(std::string_view chunk) { return !(chunk[4] & 32); }

uint32_t BigEndian(std::string_view bytes) {
  uint32_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

// Return the file with nothing but the chunks that make pixels, in their order. Text, profiles and
// animations may be of any kind. libpng checks the rest.
std::string CriticalChunks(std::string_view file) {
  constexpr size_t kSignature = 8, kFrame = 12;  // length, name and checksum
  std::string header(file.substr(0, kSignature)), palette, data;
  for (std::string_view rest = file.substr(kSignature);;) {
    const size_t size = rest.size() < kFrame ? kFrame : kFrame + BigEndian(rest.substr(0, 4));
    if (size > rest.size()) throw Error("bad PNG image: the file is truncated");
    const std::string_view chunk = rest.substr(0, size), name = chunk.substr(4, 4);
    const bool first = header.size() == kSignature;
    if (first != (name == "IHDR")) throw Error("bad PNG image: its header is damaged");
    rest.remove_prefix(size);
    if (name == "IHDR") {
      header += chunk;
    } else if (name == "PLTE") {
      palette += chunk;
    } else if (name == "IDAT") {
      data += chunk;
    } else if (name == "IEND") {
      constexpr size_t kColourType = 25;
      const bool is_palette = header.size() > kColourType &&
                              header[kColourType] == PNG_COLOR_TYPE_PALETTE;
      return header + (is_palette ? palette : "") + data + std::string(chunk);
    } else if (IsCritical(chunk)) {
      throw Error("bad PNG image: it has an unknown critical chunk");
    }
  }
}

// Owns all memory, because libpng reports errors by longjmp, which skips destructors.
struct Decoder {
  std::string_view rest;  // of the file
  std::string error;
  Image image;
  png_structp png = nullptr;
  png_infop info = nullptr;

  ~Decoder() { png_destroy_read_struct(&png, &info, nullptr); }
};

void OnError(png_structp png, png_const_charp message) {
  static_cast<Decoder*>(png_get_error_ptr(png))->error = message;
  png_longjmp(png, 1);
}

// Of the chunks that libpng receives, it warns only of damage. Bytes after the last row are none:
// some programs write them.
void OnWarning(png_structp png, png_const_charp message) {
  if (!strstr(message, "Extra compressed data")) OnError(png, message);
}

void Read(png_structp png, png_bytep target, size_t size) {
  auto* decoder = static_cast<Decoder*>(png_get_io_ptr(png));
  if (size > decoder->rest.size()) png_error(png, "the file is truncated");
  memcpy(target, decoder->rest.data(), size);
  decoder->rest.remove_prefix(size);
}

// Return false after an error in libpng, which jumps back to setjmp.
bool ReadImage(Decoder* decoder) {
  png_structp const png = decoder->png;
  Image& image = decoder->image;
  if (setjmp(png_jmpbuf(png))) return false;
  png_set_option(png, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON);
  png_set_user_limits(png, 0x7fffffff, 0x7fffffff);  // CheckSize has a lower limit
  const auto file_size = static_cast<int64_t>(decoder->rest.size());
  png_read_info(png, decoder->info);
  image.width = png_get_image_width(png, decoder->info);
  image.height = png_get_image_height(png, decoder->info);
  CheckSize(image.width, image.height);
  // Deflate compresses at most 1032 : 1, and a pixel has at least one bit. A file that is too small
  // for its pixels is truncated: find out before memory is allocated.
  if (int64_t{image.width} * image.height / 8 > file_size * 1032) {
    png_error(png, "the file is truncated");
  }
  png_set_expand(png);
  png_set_strip_16(png);
  png_set_gray_to_rgb(png);
  png_set_strip_alpha(png);
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, decoder->info);
  const size_t stride = size_t{3} * image.width;
  if (png_get_rowbytes(png, decoder->info) != stride) {
    png_error(png, "its pixels have an unknown format");
  }
  image.pixels.resize(stride * image.height);
  for (int pass = 0; pass < passes; ++pass) {
    for (int y = 0; y < image.height; ++y) png_read_row(png, &image.pixels[stride * y], nullptr);
  }
  png_read_end(png, nullptr);
  return true;
}

}  // namespace

Image DecodePng(std::string_view file) {
  const std::string chunks = CriticalChunks(file);
  Decoder decoder;
  decoder.rest = chunks;
  decoder.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoder, OnError, OnWarning);
  if (decoder.png) decoder.info = png_create_info_struct(decoder.png);
  if (!decoder.info) throw Error("cannot initialize libpng");
  png_set_read_fn(decoder.png, &decoder, Read);
  if (!ReadImage(&decoder)) throw Error("bad PNG image: ", OneLine(decoder.error, 100));
  return std::move(decoder.image);
}

}  // namespace label_image
