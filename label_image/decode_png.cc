// PNG, by libpng.

#include <png.h>
#include <setjmp.h>

#include <cstring>
#include <string>

#include "error.h"
#include "image.h"

namespace label_image {
namespace {

// What outlives libpng's longjmp; nothing with a destructor lives in the function it leaves.
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

void OnWarning(png_structp, png_const_charp) {}

void Read(png_structp png, png_bytep target, size_t size) {
  auto* decoder = static_cast<Decoder*>(png_get_io_ptr(png));
  if (size > decoder->rest.size()) png_error(png, "it is truncated");
  memcpy(target, decoder->rest.data(), size);
  decoder->rest.remove_prefix(size);
}

// Sets up the sizes. Throws, so it must not be called by libpng.
void Allocate(Decoder* decoder) {
  Image& image = decoder->image;
  const size_t stride = size_t{3} * image.width;
  // Deflate packs 1032 bytes in one at best, and a pixel has at least one bit: a file that
  // claims more is truncated, and is told so before memory is taken.
  const int64_t pixels = int64_t{image.width} * image.height;
  if (pixels / 8 > static_cast<int64_t>(decoder->file_size) * 1032) {
    throw Failure("it is truncated");
  }
  image.pixels.resize(stride * image.height);
  decoder->rows.resize(image.height);
  for (int y = 0; y < image.height; ++y) decoder->rows[y] = &image.pixels[stride * y];
}

bool ReadHeader(Decoder* decoder) {
  if (setjmp(png_jmpbuf(decoder->png))) return false;
  png_set_user_limits(decoder->png, 0x7fffffff, 0x7fffffff);  // CheckSize is stricter
  png_set_chunk_cache_max(decoder->png, 100);
  png_set_chunk_malloc_max(decoder->png, 8000000);
  png_read_info(decoder->png, decoder->info);
  decoder->image.width = png_get_image_width(decoder->png, decoder->info);
  decoder->image.height = png_get_image_height(decoder->png, decoder->info);
  return true;
}

bool SetTransforms(Decoder* decoder) {
  if (setjmp(png_jmpbuf(decoder->png))) return false;
  png_set_expand(decoder->png);
  png_set_strip_16(decoder->png);
  png_set_gray_to_rgb(decoder->png);
  png_set_strip_alpha(decoder->png);
  png_set_interlace_handling(decoder->png);
  png_read_update_info(decoder->png, decoder->info);
  if (png_get_rowbytes(decoder->png, decoder->info) != size_t{3} * decoder->image.width) {
    png_error(decoder->png, "its pixels are of an unknown kind");
  }
  return true;
}

bool ReadPixels(Decoder* decoder) {
  if (setjmp(png_jmpbuf(decoder->png))) return false;
  png_read_image(decoder->png, decoder->rows.data());
  return true;
}

}  // namespace

Image DecodePng(std::string_view bytes) {
  Decoder decoder;
  decoder.rest = bytes;
  decoder.file_size = bytes.size();
  decoder.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoder, OnError, OnWarning);
  if (decoder.png) decoder.info = png_create_info_struct(decoder.png);
  if (!decoder.info) throw Failure("libpng does not start");
  png_set_read_fn(decoder.png, &decoder, Read);
  if (ReadHeader(&decoder)) {
    CheckSize(decoder.image.width, decoder.image.height);
    if (SetTransforms(&decoder)) {
      Allocate(&decoder);
      if (ReadPixels(&decoder)) return std::move(decoder.image);
    }
  }
  throw Failure("a bad PNG image: " + OneLine(decoder.error, 100));
}

}  // namespace label_image
