// JPEG, by libjpeg.

#include <stddef.h>
#include <stdio.h>

#include <jpeglib.h>
// after jpeglib.h, which it needs
#include <jerror.h>
#include <setjmp.h>

#include <string>

#include "error.h"
#include "exif.h"
#include "image.h"

namespace label_image {
namespace {

// A progressive image of few bytes can ask for any number of passes over all its pixels.
constexpr int kMostScans = 200;

constexpr int kExifMarker = JPEG_APP0 + 1, kMostMarkerBytes = 0xffff;

// What outlives libjpeg's longjmp; nothing with a destructor lives in the function it leaves.
struct Decoder {
  jpeg_decompress_struct jpeg = {};
  jpeg_error_mgr errors = {};
  jpeg_progress_mgr progress = {};
  jmp_buf jump;
  char error[JMSG_LENGTH_MAX] = "";
  Image image;
  std::vector<uint8_t> row;
  int components = 3;

  ~Decoder() { jpeg_destroy_decompress(&jpeg); }
};

Decoder* Of(j_common_ptr jpeg) { return static_cast<Decoder*>(jpeg->client_data); }

void OnError(j_common_ptr jpeg) {
  jpeg->err->format_message(jpeg, Of(jpeg)->error);
  longjmp(Of(jpeg)->jump, 1);
}

// libjpeg fills what is missing with grey and warns; that is no image to classify.
void OnMessage(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  const int code = jpeg->err->msg_code;
  if (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER) OnError(jpeg);
}

void OnProgress(j_common_ptr jpeg) {
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number > kMostScans) {
    snprintf(Of(jpeg)->error, JMSG_LENGTH_MAX, "more than %d scans", kMostScans);
    longjmp(Of(jpeg)->jump, 1);
  }
}

bool ReadHeader(Decoder* decoder, std::string_view bytes) {
  jpeg_decompress_struct* jpeg = &decoder->jpeg;
  if (setjmp(decoder->jump)) return false;
  jpeg_create_decompress(jpeg);
  jpeg->client_data = decoder;
  jpeg->progress = &decoder->progress;
  jpeg_mem_src(jpeg, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_save_markers(jpeg, kExifMarker, kMostMarkerBytes);
  jpeg_read_header(jpeg, TRUE);
  decoder->image.width = jpeg->image_width;
  decoder->image.height = jpeg->image_height;
  return true;
}

bool Start(Decoder* decoder) {
  jpeg_decompress_struct* jpeg = &decoder->jpeg;
  if (setjmp(decoder->jump)) return false;
  const bool cmyk = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
  jpeg->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(jpeg);
  decoder->components = jpeg->output_components;
  return true;
}

bool ReadRow(Decoder* decoder) {
  if (setjmp(decoder->jump)) return false;
  JSAMPROW row = decoder->row.data();
  jpeg_read_scanlines(&decoder->jpeg, &row, 1);
  return true;
}

// Adobe's programs store CMYK inverted; others do not and leave out Adobe's marker.
void AppendRow(Decoder* decoder) {
  std::vector<uint8_t>* pixels = &decoder->image.pixels;
  if (decoder->components == 3) {
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

// The first block of EXIF data counts; XMP has markers of the same number.
int OrientationOf(const jpeg_decompress_struct& jpeg) {
  constexpr std::string_view kStart("Exif\0\0", 6);
  for (const jpeg_marker_struct* marker = jpeg.marker_list; marker; marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (data.substr(0, kStart.size()) == kStart) return Orientation(data.substr(kStart.size()));
  }
  return 1;
}

}  // namespace

Image DecodeJpeg(std::string_view bytes) {
  Decoder decoder;
  decoder.jpeg.err = jpeg_std_error(&decoder.errors);
  decoder.errors.error_exit = OnError;
  decoder.errors.emit_message = OnMessage;
  decoder.progress.progress_monitor = OnProgress;
  decoder.jpeg.client_data = &decoder;
  const auto error = [&decoder] {
    return Failure("a bad JPEG image: " + OneLine(decoder.error, 100));
  };
  if (!ReadHeader(&decoder, bytes)) throw error();
  const Image& image = decoder.image;
  CheckSize(image.width, image.height);
  if (!Start(&decoder)) throw error();
  decoder.row.resize(size_t{1} * image.width * decoder.components);
  // Row by row, so that a file which claims many takes memory for those that it has.
  for (int y = 0; y < image.height; ++y) {
    if (!ReadRow(&decoder)) throw error();
    AppendRow(&decoder);
  }
  return Upright(std::move(decoder.image), OrientationOf(decoder.jpeg));
}

}  // namespace label_image
