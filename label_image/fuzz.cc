// Damages graphs, images, batch files and profiles in many ways and reads them, in one process.
// Built with sanitizers (make sanitize), which end it at the first report.
//
// usage: fuzz [COUNT [SEED [GRAPH.pb...]]]

#include <stddef.h>
#include <stdio.h>

#include <jpeglib.h>
#include <png.h>
#include <stdlib.h>
#include <zlib.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "batch.h"
#include "benchmark.h"
#include "error.h"
#include "file.h"
#include "graph.h"
#include "image.h"
#include "wire.h"

namespace label_image {
namespace {

using Random = std::mt19937_64;

// No input may take longer; under sanitizers, on a busy machine.
constexpr double kMostSeconds = 20;

uint64_t Below(Random* random, uint64_t n) { return n ? (*random)() % n : 0; }

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

std::string Jpeg(int width, int height, J_COLOR_SPACE colours, int components, bool progressive) {
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

// A small graph with everything that our reader looks at.
std::string SmallGraph() {
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

std::string RunMetadata() {
  wire::Writer node, device, stats, metadata;
  node.Bytes(1, "conv1").Varint(2, 1000).Varint(3, 1).Varint(4, 90).Varint(15, 90000);
  node.Bytes(8, "conv1 = Conv2D(images, weights)");
  device.Bytes(1, "/device:CPU:0").Bytes(2, node.str()).Bytes(2, node.str());
  stats.Bytes(1, device.str());
  return metadata.Bytes(1, stats.str()).str();
}

// Each reads bytes and may throw Failure; what else it throws or leaves wrong is a bug.

void Require(bool condition, const char* what) {
  if (condition) return;
  fprintf(stderr, "fuzz: broken: %s\n", what);
  abort();
}

void ReadGraph(const std::string& bytes) {
  const Graph graph(bytes, "mutant");
  for (const auto& node : graph.nodes()) {
    Shape shape;
    graph.Type(node);
    graph.GivenShape(node, &shape);
  }
  for (const char* output : {"predictions", "probabilities"}) {
    graph.IsSoftmax(output);
    for (const char* input : {"images", "inputs"}) {
      for (bool any_op : {true, false}) {
        if (!graph.Find(output) || !graph.Find(input)) continue;
        std::string cut;
        try {
          cut = graph.Cut(input, kFloat, {-1, 24, 24, 3}, output, any_op);
        } catch (const Failure&) {
          continue;
        }
        const Graph again(cut, "cut");  // a bug, not a Failure, if that does not work
        Require(again.Get(input).op == "Placeholder", "the input is no Placeholder");
        Require(again.nodes().size() <= graph.nodes().size(), "a cut graph grew");
        again.Get(output);
      }
    }
  }
  graph.Labels();
}

void ReadImage(const std::string& bytes) {
  const Image image = Decode(bytes);
  Require(image.pixels.size() == size_t{3} * image.width * image.height, "the size of an image");
  const Image square = Resize(CropSquare(image), 24);
  Require(square.pixels.size() == size_t{3} * 24 * 24, "the size of a square");
}

void ReadBatchFile(const std::string& bytes) {
  const Batch batch = ReadBatch(bytes, "mutant", 4, 0);
  Require(batch.images.size() == batch.labels.size() * 48, "the size of a batch");
}

void ReadProfile(const std::string& bytes) {
  std::map<std::string, Operation> total;
  AddProfile(bytes, &total);
}

struct Kind {
  const char* name;
  void (*read)(const std::string&);
  std::vector<std::string> seeds;
  int64_t tried = 0, refused = 0;
};

// Makes the checksums of a damaged PNG right, so that more than the checksum test is tried.
void MendPng(std::string* file) {
  auto* bytes = reinterpret_cast<unsigned char*>(file->data());
  const auto big = [bytes](size_t at) {
    return size_t{bytes[at]} << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3];
  };
  for (size_t at = 8; at + 12 <= file->size();) {
    const size_t size = big(at);
    if (size > file->size() - at - 12) return;
    const auto sum = static_cast<uint32_t>(crc32(0, bytes + at + 4, static_cast<uInt>(size + 4)));
    for (int i = 0; i < 4; ++i) {
      bytes[at + 8 + size + i] = static_cast<unsigned char>(sum >> (24 - 8 * i));
    }
    at += size + 12;
  }
}

std::string Mutate(const std::vector<std::string>& seeds, Random* random) {
  std::string bytes = seeds[Below(random, seeds.size())];
  for (uint64_t left = 1 + Below(random, 6); left > 0; --left) {
    // Half of the damage is done near the start, where headers are.
    const size_t reach = Below(random, 2) ? std::min<size_t>(bytes.size(), 128) : bytes.size();
    const size_t at = Below(random, reach);
    const size_t size = Below(random, std::min<size_t>(bytes.size() - at, 1 + Below(random, 64)));
    switch (Below(random, 9)) {
      case 0:
      case 1:
        if (!bytes.empty()) bytes[at] = static_cast<char>(bytes[at] ^ 1 << Below(random, 8));
        break;
      case 2:
        if (!bytes.empty()) bytes[at] = static_cast<char>(Below(random, 256));
        break;
      case 3: {  // a number at the limits, in either byte order
        static constexpr uint32_t kNumbers[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x10000,
                                                0x7fffffff, 0x80000000, 0xffffffff, 10000};
        const uint32_t number = kNumbers[Below(random, std::size(kNumbers))];
        const bool big = Below(random, 2);
        for (size_t i = 0; i < 4 && at + i < bytes.size(); ++i) {
          bytes[at + i] = static_cast<char>(number >> 8 * (big ? 3 - i : i));
        }
        break;
      }
      case 4: bytes.erase(at, size); break;
      case 5: bytes.insert(at, bytes.substr(Below(random, bytes.size()), size)); break;
      case 6: bytes.resize(Below(random, 4) ? bytes.size() - size : at); break;
      case 7: {  // a splice: this up to here, another from somewhere
        const std::string& other = seeds[Below(random, seeds.size())];
        bytes = bytes.substr(0, at) + other.substr(Below(random, other.size()));
        break;
      }
      case 8:
        for (size_t i = 0; i < size; ++i) bytes[at + i] = static_cast<char>(Below(random, 256));
        break;
    }
  }
  if (bytes.compare(0, 4, "\x89PNG") == 0 && Below(random, 4)) MendPng(&bytes);
  return bytes;
}

std::vector<Kind> Kinds(const std::vector<std::string>& graphs) {
  Kind images = {"images", ReadImage, {}};
  const int grey = PNG_COLOR_TYPE_GRAY, palette = PNG_COLOR_TYPE_PALETTE;
  for (bool interlaced : {false, true}) {
    for (int bits : {1, 2, 4, 8, 16}) images.seeds.push_back(Png(9, 7, bits, grey, interlaced));
    for (int bits : {1, 2, 4, 8}) images.seeds.push_back(Png(7, 9, bits, palette, interlaced));
    for (int bits : {8, 16}) {
      for (int colour : {PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGBA, PNG_COLOR_TYPE_GRAY_ALPHA}) {
        images.seeds.push_back(Png(33, 40, bits, colour, interlaced));
      }
    }
    images.seeds.push_back(Jpeg(20, 17, JCS_GRAYSCALE, 1, interlaced));
    images.seeds.push_back(Jpeg(40, 33, JCS_RGB, 3, interlaced));
    images.seeds.push_back(Jpeg(16, 16, JCS_CMYK, 4, interlaced));
  }
  for (int bits : {1, 4, 8, 16, 24, 32}) {
    images.seeds.push_back(Bmp(11, 6, bits, 0, false));
    images.seeds.push_back(Bmp(6, -11, bits, 0, false));
    if (bits <= 8 || bits == 24) images.seeds.push_back(Bmp(5, 5, bits, 0, true));
  }
  images.seeds.push_back(Bmp(8, 8, 16, 3, false));
  Kind graph = {"graphs", ReadGraph, {SmallGraph()}};
  for (const std::string& path : graphs) graph.seeds.push_back(ReadFile(path));
  const std::vector<uint8_t> records = Pixels(49 * 5);
  return {images, graph,
          {"batch files", ReadBatchFile, {std::string(records.begin(), records.end())}},
          {"profiles", ReadProfile, {RunMetadata()}}};
}

int Fuzz(int64_t count, uint64_t seed, const std::vector<std::string>& graphs) {
  Random random(seed);
  std::vector<Kind> kinds = Kinds(graphs);
  for (const Kind& kind : kinds) {
    for (const std::string& whole : kind.seeds) kind.read(whole);  // the undamaged are all read
  }
  double slowest = 0;
  for (int64_t i = 0; i < count; ++i) {
    // Of ten mutants six are images, two graphs, one a batch file and one a profile.
    static constexpr int kShare[] = {0, 0, 0, 0, 0, 0, 1, 1, 2, 3};
    Kind& kind = kinds[kShare[i % 10]];
    const std::string mutant = Mutate(kind.seeds, &random);
    const auto start = std::chrono::steady_clock::now();
    ++kind.tried;
    try {
      kind.read(mutant);
    } catch (const Failure& failure) {
      ++kind.refused;
      Require(OneLine(failure.what(), 1000) == failure.what(), "a message is not one line");
    } catch (const std::exception& error) {
      fprintf(stderr, "fuzz: seed %llu, mutant %lld: %s\n", static_cast<unsigned long long>(seed),
              static_cast<long long>(i), error.what());
      return 1;
    }
    slowest = std::max(
        slowest,
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    if (slowest > kMostSeconds) {
      fprintf(stderr, "fuzz: mutant %lld took %.1f s\n", static_cast<long long>(i), slowest);
      return 1;
    }
  }
  for (const Kind& kind : kinds) {
    printf("%-12s %6lld mutants, %6lld refused\n", kind.name, static_cast<long long>(kind.tried),
           static_cast<long long>(kind.refused));
  }
  printf("%lld mutants, no report, the slowest took %.2f s\n", static_cast<long long>(count),
         slowest);
  return 0;
}

}  // namespace
}  // namespace label_image

int main(int argc, char** argv) {
  try {
    return label_image::Fuzz(argc > 1 ? atoll(argv[1]) : 2000, argc > 2 ? atoll(argv[2]) : 1,
                             {argv + std::min(argc, 3), argv + argc});
  } catch (const std::exception& error) {
    fprintf(stderr, "fuzz: %s\n", error.what());
    return 1;
  }
}
