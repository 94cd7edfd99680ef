// PNG decoder, with libpng.

#include <png.h>
#include <setjmp.h>

#include <cstring>
#include <string>

#include "error.h"
#include "images/image.h"

namespace label_image {
namespace {

// Owns all memory, because libpng reports errors by longjmp, which skips destructors.
struct Decoder {
  std::string_view rest;
  std::string error;
  Image image;
  std::vector<png_bytep> rows;
  png_structp png = nullptr;
  png_infop info = nullptr;
  size_t file_size = 0;

  ~Decoder() { png_destroy_read_struct(&png, &info, nullptr); }
};

void OnError(png_structp png, png_const_charp message) {
  static_cast<Decoder*>(png_get_error_ptr(png))->error = message;
  png_longjmp(png, 1);
}

void Read(png_structp png, png_bytep target, size_t size) {
  auto* decoder = static_cast<Decoder*>(png_get_io_ptr(png));
  if (size > decoder->rest.size()) png_error(png, "the file is truncated");
  memcpy(target, decoder->rest.data(), size);
  decoder->rest.remove_prefix(size);
}

void Allocate(Decoder* decoder) {
  Image& image = decoder->image;
  const size_t stride = size_t{3} * image.width;
  // Deflate compresses at most 1032 : 1, and a pixel has at least one bit. A file that is too small
  // for its pixels is truncated: find out before memory is allocated.
  const int64_t pixels = int64_t{image.width} * image.height;
  if (pixels / 8 > static_cast<int64_t>(decoder->file_size) * 1032) {
    throw Error("the file is truncated");
  }
  image.pixels.resize(stride * image.height);
  decoder->rows.resize(image.height);
  for (int y = 0; y < image.height; ++y) decoder->rows[y] = &image.pixels[stride * y];
}

// Return false after an error in libpng, which jumps back to setjmp.
bool ReadImage(Decoder* decoder) {
  if (setjmp(png_jmpbuf(decoder->png))) return false;
  png_set_user_limits(decoder->png, 0x7fffffff, 0x7fffffff);  // CheckSize has a lower limit
  png_set_chunk_cache_max(decoder->png, 100);
  png_set_chunk_malloc_max(decoder->png, 8000000);
  png_read_info(decoder->png, decoder->info);
  decoder->image.width = png_get_image_width(decoder->png, decoder->info);
  decoder->image.height = png_get_image_height(decoder->png, decoder->info);
  CheckSize(decoder->image.width, decoder->image.height);
  png_set_expand(decoder->png);
  png_set_strip_16(decoder->png);
  png_set_gray_to_rgb(decoder->png);
  png_set_strip_alpha(decoder->png);
  png_set_interlace_handling(decoder->png);
  png_read_update_info(decoder->png, decoder->info);
  if (png_get_rowbytes(decoder->png, decoder->info) != size_t{3} * decoder->image.width) {
    png_error(decoder->png, "its pixels have an unknown format");
  }
  Allocate(decoder);
  png_read_image(decoder->png, decoder->rows.data());
  return true;
}

}  // namespace

Image DecodePng(std::string_view file) {
  Decoder decoder;
  decoder.rest = file;
  decoder.file_size = file.size();
  decoder.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoder, OnError,
                                       [](png_structp, png_const_charp) {});
  if (decoder.png) decoder.info = png_create_info_struct(decoder.png);
  if (!decoder.info) throw Error("cannot initialize libpng");
  png_set_read_fn(decoder.png, &decoder, Read);
  if (!ReadImage(&decoder)) throw Error("bad PNG image: " + OneLine(decoder.error, 100));
  return std::move(decoder.image);
}

}  // namespace label_image
