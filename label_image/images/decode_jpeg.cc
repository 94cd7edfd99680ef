// JPEG decoder, with libjpeg. Turns photos upright, as their EXIF data says.

#include <stddef.h>
#include <stdio.h>

#include <jpeglib.h>
#include <jerror.h>  // needs jpeglib.h
#include <setjmp.h>

#include <string>

#include "error.h"
#include "images/image.h"

namespace label_image {
namespace {

// A small progressive file can request any number of passes over all pixels.
constexpr int kMaxScans = 200;

constexpr int kExifMarker = JPEG_APP0 + 1, kMaxMarkerBytes = 0xffff;
constexpr std::string_view kExifStart("Exif\0\0", 6);

// Owns all memory, because libjpeg reports errors by longjmp, which skips destructors.
struct Decoder {
  jpeg_decompress_struct jpeg = {};
  jpeg_error_mgr errors = {};
  jpeg_progress_mgr progress = {};
  jmp_buf jump;
  char error[JMSG_LENGTH_MAX] = "";
  Image image;
  int orientation = 1;
  std::vector<uint8_t> row;

  ~Decoder() { jpeg_destroy_decompress(&jpeg); }
};

Decoder* GetDecoder(j_common_ptr jpeg) { return static_cast<Decoder*>(jpeg->client_data); }

void OnError(j_common_ptr jpeg) {
  jpeg->err->format_message(jpeg, GetDecoder(jpeg)->error);
  longjmp(GetDecoder(jpeg)->jump, 1);
}

// libjpeg fills what a damaged image lacks with grey and warns. Make it an error.
void OnMessage(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  const int code = jpeg->err->msg_code;
  if (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_MUST_RESYNC) {
    OnError(jpeg);
  }
}

void OnProgress(j_common_ptr jpeg) {
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number > kMaxScans) {
    snprintf(GetDecoder(jpeg)->error, JMSG_LENGTH_MAX, "more than %d scans", kMaxScans);
    longjmp(GetDecoder(jpeg)->jump, 1);
  }
}

// Adobe's programs store inverted CMYK and write a marker of their own; other programs do neither.
void AppendRow(Decoder* decoder) {
  std::vector<uint8_t>* pixels = &decoder->image.pixels;
  if (decoder->jpeg.output_components == 3) {
    pixels->insert(pixels->end(), decoder->row.begin(), decoder->row.end());
    return;
  }
  const int invert = decoder->jpeg.saw_Adobe_marker ? 0 : 255;  // x ^ 255 is 255 - x
  for (size_t i = 0; i < decoder->row.size(); i += 4) {
    const uint8_t* ink = &decoder->row[i];
    for (int c = 0; c < 3; ++c) {
      const int level = (ink[c] ^ invert) * (ink[3] ^ invert);
      pixels->push_back(static_cast<uint8_t>((level + 127) / 255));
    }
  }
}

// Return the first EXIF block, or "". XMP data has the same marker number.
std::string_view FindExif(const jpeg_decompress_struct& jpeg) {
  for (const jpeg_marker_struct* marker = jpeg.marker_list; marker; marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (data.substr(0, kExifStart.size()) == kExifStart) return data.substr(kExifStart.size());
  }
  return "";
}

// EXIF data is a TIFF file without an image: a header, then directories of tags of 12 bytes.
// https://www.cipa.jp/std/documents/e/DC-008-2012_E.pdf, section 4.6
constexpr uint64_t kTiffMagic = 42, kOrientation = 0x112, kShort = 3;

// Return the tag Orientation, 1 to 8. Returns 1, upright, if the tag is missing or damaged: viewers
// show such photos unchanged.
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
  if (number(2, 2) != kTiffMagic) return 1;
  const uint64_t directory = number(4, 4), count = number(directory, 2);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t tag = directory + 2 + 12 * i;
    if (number(tag, 2) != kOrientation) continue;
    const auto value = static_cast<int>(number(tag + 8, 2));
    const bool valid = number(tag + 2, 2) == kShort && number(tag + 4, 4) == 1;
    return valid && value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

// Return false after an error in libjpeg, which jumps back to setjmp.
bool ReadImage(Decoder* decoder, std::string_view file) {
  jpeg_decompress_struct* const jpeg = &decoder->jpeg;
  if (setjmp(decoder->jump)) return false;
  jpeg_create_decompress(jpeg);
  jpeg->progress = &decoder->progress;
  jpeg_mem_src(jpeg, reinterpret_cast<const unsigned char*>(file.data()), file.size());
  jpeg_save_markers(jpeg, kExifMarker, kMaxMarkerBytes);
  jpeg_read_header(jpeg, TRUE);
  decoder->image.width = jpeg->image_width;
  decoder->image.height = jpeg->image_height;
  CheckSize(decoder->image.width, decoder->image.height);
  decoder->orientation = Orientation(FindExif(*jpeg));
  const bool cmyk = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
  jpeg->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(jpeg);
  decoder->row.resize(size_t{1} * jpeg->image_width * jpeg->output_components);
  // Row by row, so that a file only takes memory for the rows that it contains.
  while (jpeg->output_scanline < jpeg->output_height) {
    JSAMPROW row = decoder->row.data();
    jpeg_read_scanlines(jpeg, &row, 1);
    AppendRow(decoder);
  }
  jpeg_finish_decompress(jpeg);  // finds out whether the end of the file is missing
  return true;
}

// Return the image as a viewer shows it. Orientations from 5 on swap width and height.
Image Upright(Image image, int orientation) {
  if (orientation == 1) return image;
  // To find the source of a pixel, swap the axes first, then reverse each.
  const bool swapped = orientation >= 5;
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image upright = {image.width, image.height, {}};
  if (swapped) std::swap(upright.width, upright.height);
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

}  // namespace

Image DecodeJpeg(std::string_view file) {
  Decoder decoder;
  decoder.jpeg.err = jpeg_std_error(&decoder.errors);
  decoder.errors.error_exit = OnError;
  decoder.errors.emit_message = OnMessage;
  decoder.progress.progress_monitor = OnProgress;
  decoder.jpeg.client_data = &decoder;
  if (!ReadImage(&decoder, file)) throw Error("bad JPEG image: ", OneLine(decoder.error, 100));
  return Upright(std::move(decoder.image), decoder.orientation);
}

}  // namespace label_image
