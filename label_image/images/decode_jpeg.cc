// JPEG decoder, with libjpeg.

#include <stddef.h>
#include <stdio.h>

#include <jpeglib.h>
#include <jerror.h>  // needs jpeglib.h
#include <setjmp.h>

#include <string>

#include "error.h"
#include "images/exif.h"
#include "images/image.h"

namespace label_image {
namespace {

// A small progressive file can request any number of passes over all pixels.
constexpr int kMaxScans = 200;

constexpr int kExifMarker = JPEG_APP0 + 1, kMaxMarkerBytes = 0xffff;

// Owns all memory, because libjpeg reports errors by longjmp, which skips destructors.
struct Decoder {
  jpeg_decompress_struct jpeg = {};
  jpeg_error_mgr errors = {};
  jpeg_progress_mgr progress = {};
  jmp_buf jump;
  char error[JMSG_LENGTH_MAX] = "";
  Image image;
  std::vector<uint8_t> row;

  ~Decoder() { jpeg_destroy_decompress(&jpeg); }
};

Decoder* GetDecoder(j_common_ptr jpeg) { return static_cast<Decoder*>(jpeg->client_data); }

void OnError(j_common_ptr jpeg) {
  jpeg->err->format_message(jpeg, GetDecoder(jpeg)->error);
  longjmp(GetDecoder(jpeg)->jump, 1);
}

// libjpeg fills the missing part of a truncated image with grey and warns. Make it an error.
void OnMessage(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  const int code = jpeg->err->msg_code;
  if (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER) OnError(jpeg);
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
  const bool inverted = decoder->jpeg.saw_Adobe_marker;
  for (size_t i = 0; i < decoder->row.size(); i += 4) {
    const int black = inverted ? decoder->row[i + 3] : 255 - decoder->row[i + 3];
    for (int c = 0; c < 3; ++c) {
      const int ink = inverted ? decoder->row[i + c] : 255 - decoder->row[i + c];
      pixels->push_back(static_cast<uint8_t>((ink * black + 127) / 255));
    }
  }
}

// Return false after an error in libjpeg, which jumps back to setjmp.
bool ReadImage(Decoder* decoder, std::string_view file) {
  jpeg_decompress_struct* const jpeg = &decoder->jpeg;
  if (setjmp(decoder->jump)) return false;
  jpeg_create_decompress(jpeg);
  jpeg->client_data = decoder;
  jpeg->progress = &decoder->progress;
  jpeg_mem_src(jpeg, reinterpret_cast<const unsigned char*>(file.data()), file.size());
  jpeg_save_markers(jpeg, kExifMarker, kMaxMarkerBytes);
  jpeg_read_header(jpeg, TRUE);
  decoder->image.width = jpeg->image_width;
  decoder->image.height = jpeg->image_height;
  CheckSize(decoder->image.width, decoder->image.height);
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
  return true;
}

// Use the first EXIF block. XMP data has the same marker number.
int ReadOrientation(const jpeg_decompress_struct& jpeg) {
  constexpr std::string_view kStart("Exif\0\0", 6);
  for (const jpeg_marker_struct* marker = jpeg.marker_list; marker; marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (data.substr(0, kStart.size()) == kStart) return Orientation(data.substr(kStart.size()));
  }
  return 1;
}

}  // namespace

Image DecodeJpeg(std::string_view file) {
  Decoder decoder;
  decoder.jpeg.err = jpeg_std_error(&decoder.errors);
  decoder.errors.error_exit = OnError;
  decoder.errors.emit_message = OnMessage;
  decoder.progress.progress_monitor = OnProgress;
  decoder.jpeg.client_data = &decoder;
  if (!ReadImage(&decoder, file)) {
    throw Error("bad JPEG image: " + OneLine(decoder.error, 100));
  }
  return Upright(std::move(decoder.image), ReadOrientation(decoder.jpeg));
}

}  // namespace label_image
