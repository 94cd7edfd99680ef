// What the fuzzer starts from: whole images of each kind, a graph, records and a profile.

#include "fuzz_seeds.h"

#include <stddef.h>
#include <stdio.h>

#include <jpeglib.h>
#include <png.h>
#include <stdlib.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

#include "wire.h"

namespace label_image {
namespace {

// Pixels that compress and still differ.
std::vector<uint8_t> Pixels(size_t count) {
  std::vector<uint8_t> pixels(count);
  for (size_t i = 0; i < count; ++i) pixels[i] = static_cast<uint8_t>(i * i / 7 + i);
  return pixels;
}

std::string Png(int width, int height, int bits, int colour, bool interlaced) {
  std::string file;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  if (setjmp(png_jmpbuf(png))) abort();
  png_set_write_fn(png, &file, [](png_structp p, png_bytep data, size_t size) {
    static_cast<std::string*>(png_get_io_ptr(p))->append(reinterpret_cast<char*>(data), size);
  }, nullptr);
  png_set_IHDR(png, info, width, height, bits, colour,
               interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  std::vector<png_color> palette(size_t{1} << std::min(bits, 8), png_color{1, 2, 3});
  if (colour == PNG_COLOR_TYPE_PALETTE) {
    png_set_PLTE(png, info, palette.data(), static_cast<int>(palette.size()));
    png_byte alpha[] = {0, 128};
    png_set_tRNS(png, info, alpha, 2, nullptr);
  }
  png_write_info(png, info);
  const size_t stride = png_get_rowbytes(png, info);
  std::vector<uint8_t> pixels = Pixels(stride * height);
  std::vector<png_bytep> rows;
  for (int y = 0; y < height; ++y) rows.push_back(&pixels[stride * y]);
  png_write_image(png, rows.data());
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return file;
}

std::string Jpeg(int width, int height, J_COLOR_SPACE colours, int components, bool progressive,
                 const std::string& exif = {}) {
  jpeg_compress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &memory, &size);
  jpeg.image_width = width;
  jpeg.image_height = height;
  jpeg.input_components = components;
  jpeg.in_color_space = colours;
  jpeg_set_defaults(&jpeg);
  if (progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  if (!exif.empty()) {
    jpeg_write_marker(&jpeg, JPEG_APP0 + 1, reinterpret_cast<const unsigned char*>(exif.data()),
                      static_cast<unsigned>(exif.size()));
  }
  std::vector<uint8_t> pixels = Pixels(size_t{1} * width * height * components);
  for (int y = 0; y < height; ++y) {
    JSAMPROW row = &pixels[size_t{1} * y * width * components];
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  std::string file(reinterpret_cast<char*>(memory), size);
  jpeg_destroy_compress(&jpeg);
  free(memory);
  return file;
}

void Little(std::string* file, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) *file += static_cast<char>(value >> 8 * i);
}

// EXIF data of two tags, the second of which is Orientation.
std::string Exif(uint16_t orientation, bool big) {
  std::string data(big ? "MM" : "II");
  const auto number = [&data, big](uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) {
      data += static_cast<char>(value >> 8 * (big ? bytes - 1 - i : i));
    }
  };
  number(42, 2);
  number(8, 4);
  number(2, 2);
  for (const auto& [tag, value] : {std::pair(0x100, 40), std::pair(0x112, int{orientation})}) {
    number(tag, 2);
    number(3, 2);
    number(1, 4);
    number(value, 2);
    number(0, 2);
  }
  number(0, 4);
  return std::string("Exif\0\0", 6) + data;
}

std::string Bmp(int width, int height, int bits, int compression, bool core) {
  const int rows = std::abs(height), stride = (width * bits + 31) / 32 * 4;
  const int palette = bits <= 8 ? (core ? 3 : 4) << bits : 0, masks = compression == 3 ? 12 : 0;
  const int header = core ? 12 : 40, offset = 14 + header + masks + palette;
  std::string file = "BM";
  Little(&file, offset + stride * rows, 4);
  Little(&file, 0, 4);
  Little(&file, offset, 4);
  Little(&file, header, 4);
  Little(&file, width, core ? 2 : 4);
  Little(&file, height, core ? 2 : 4);
  Little(&file, 1, 2);
  Little(&file, bits, 2);
  if (!core) {
    Little(&file, compression, 4);
    for (int i = 0; i < 5; ++i) Little(&file, 0, 4);
  }
  for (uint32_t mask : {0xf800, 0x7e0, 0x1f}) {
    if (masks) Little(&file, mask, 4);
  }
  for (uint8_t byte : Pixels(palette + stride * rows)) file += static_cast<char>(byte);
  return file;
}

std::string Node(const std::string& name, const std::string& op,
                 const std::vector<std::string>& inputs,
                 const std::map<std::string, std::string>& attributes) {
  wire::Writer node;
  node.Bytes(1, name).Bytes(2, op);
  for (const std::string& input : inputs) node.Bytes(3, input);
  node.Bytes(4, "/device:CPU:0");
  for (const auto& [key, value] : attributes) {
    wire::Writer entry;
    node.Bytes(5, entry.Bytes(1, key).Bytes(2, value).str());
  }
  return node.str();
}

std::string TensorShape(const std::vector<int64_t>& sizes) {
  wire::Writer shape;
  for (int64_t size : sizes) shape.Bytes(2, wire::Writer().Varint(1, size).str());
  return shape.str();
}

}  // namespace

std::vector<std::string> SeedImages() {
  std::vector<std::string> images;
  const int grey = PNG_COLOR_TYPE_GRAY, palette = PNG_COLOR_TYPE_PALETTE;
  for (bool interlaced : {false, true}) {
    for (int bits : {1, 2, 4, 8, 16}) images.push_back(Png(9, 7, bits, grey, interlaced));
    for (int bits : {1, 2, 4, 8}) images.push_back(Png(7, 9, bits, palette, interlaced));
    for (int bits : {8, 16}) {
      for (int colour : {PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGBA, PNG_COLOR_TYPE_GRAY_ALPHA}) {
        images.push_back(Png(33, 40, bits, colour, interlaced));
      }
    }
    images.push_back(Jpeg(20, 17, JCS_GRAYSCALE, 1, interlaced));
    images.push_back(Jpeg(40, 33, JCS_RGB, 3, interlaced));
    images.push_back(Jpeg(16, 16, JCS_CMYK, 4, interlaced));
  }
  for (uint16_t orientation = 1; orientation <= 8; ++orientation) {
    images.push_back(Jpeg(40, 33, JCS_RGB, 3, false, Exif(orientation, orientation % 2)));
  }
  for (int bits : {1, 4, 8, 16, 24, 32}) {
    images.push_back(Bmp(11, 6, bits, 0, false));
    images.push_back(Bmp(6, -11, bits, 0, false));
    if (bits <= 8 || bits == 24) images.push_back(Bmp(5, 5, bits, 0, true));
  }
  images.push_back(Bmp(8, 8, 16, 3, false));
  return images;
}

std::string SeedRecords(int count, int side) {
  const std::vector<uint8_t> bytes = Pixels(size_t{1} * count * (1 + 3 * side * side));
  return std::string(bytes.begin(), bytes.end());
}

std::string SeedGraph() {
  const auto type = [](int t) { return wire::Writer().Varint(6, t).str(); };
  const auto shape = [](const std::vector<int64_t>& sizes) {
    return wire::Writer().Bytes(7, TensorShape(sizes)).str();
  };
  const auto tensor = [](const wire::Writer& content) {
    return wire::Writer().Bytes(8, content.str()).str();
  };
  wire::Writer labels, weights, graph, outputs;
  labels.Varint(1, 7).Bytes(2, TensorShape({2})).Bytes(8, "cat").Bytes(8, "dog");
  weights.Varint(1, 1).Bytes(2, TensorShape({12, 2})).Bytes(4, std::string(96, '\x3d'));
  outputs.Bytes(1, wire::Writer().Bytes(7, TensorShape({-1, 2})).str());
  graph.Bytes(1, Node("queue", "FIFOQueueV2", {}, {{"capacity", wire::Writer().Varint(3, 7).str()}}));
  graph.Bytes(1, Node("images", "Placeholder", {},
                      {{"dtype", type(4)}, {"shape", shape({-1, 2, 2, 3})}}));
  graph.Bytes(1, Node("inputs", "Cast", {"images"}, {{"SrcT", type(4)}, {"DstT", type(1)}}));
  graph.Bytes(1, Node("weights", "Const", {}, {{"dtype", type(1)}, {"value", tensor(weights)}}));
  graph.Bytes(1, Node("labels", "Const", {}, {{"dtype", type(7)}, {"value", tensor(labels)}}));
  graph.Bytes(1, Node("flat", "Identity", {"inputs:0", "^weights"}, {{"T", type(1)}}));
  graph.Bytes(1, Node("predictions", "MatMul", {"flat", "weights"},
                      {{"T", type(1)}, {"_output_shapes", outputs.str()}}));
  graph.Bytes(1, Node("softmax", "Softmax", {"predictions"}, {{"T", type(1)}}));
  graph.Bytes(1, Node("probabilities", "Identity", {"softmax"}, {{"T", type(1)}}));
  graph.Bytes(2, wire::Writer().Bytes(1, "function").str()).Varint(3, 0);
  graph.Bytes(4, wire::Writer().Varint(1, 134).Varint(2, 12).str());
  return graph.str();
}

std::string SeedProfile() {
  wire::Writer node, device, stats, metadata;
  node.Bytes(1, "conv1").Varint(2, 1000).Varint(3, 1).Varint(4, 90).Varint(15, 90000);
  node.Bytes(8, "conv1 = Conv2D(images, weights)");
  device.Bytes(1, "/device:CPU:0").Bytes(2, node.str()).Bytes(2, node.str());
  stats.Bytes(1, device.str());
  return metadata.Bytes(1, stats.str()).str();
}

}  // namespace label_image
