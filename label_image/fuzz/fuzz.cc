// The fuzzer: damages valid files, such as those in corpus/, and parses the results in one process.
// `make sanitize` builds it with sanitizers, which end the process at the first report.
//
// usage: fuzz COUNT SEED FILE...
//
// FILEs are graphs (.pb), batch files of 4x4 images (.bin), profiles (.run_metadata), models of
// other runtimes (.onnx, .tflite), cards (.json) and images (any other name), at least one of each.

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "error.h"
#include "file.h"
#include "file_kind.h"
#include "graph/graph.h"
#include "graph/onnx_file.h"
#include "graph/subgraph.h"
#include "graph/tflite_file.h"
#include "images/batch.h"
#include "images/image.h"
#include "inference/benchmark.h"
#include "inference/output.h"
#include "model_card.h"

namespace label_image {
namespace {

using Random = std::mt19937_64;

// The longest time that an input may take, with sanitizers and on a busy machine.
constexpr double kMaxSeconds = 20;

uint64_t Below(Random* random, uint64_t n) { return n ? (*random)() % n : 0; }

void Require(bool condition, const char* requirement) {
  if (condition) return;
  fprintf(stderr, "fuzz: violated: %s\n", requirement);
  abort();
}

// The parsers under test. Each may throw Error for a mutant; any other exception ends the process.

void CheckSubgraph(const Graph& graph, const Subgraph& subgraph) {
  std::string bytes;
  try {
    bytes = ExtractSubgraph(graph, subgraph);
  } catch (const Error&) {
    return;
  }
  const Graph extracted(bytes, "subgraph");
  Require(extracted.Get(subgraph.input).op == "Placeholder", "the input is a Placeholder");
  Require(extracted.nodes().size() <= graph.nodes().size(), "a subgraph is not larger");
  extracted.Get(subgraph.output);
}

void ReadGraph(const std::string& bytes) {
  FileKind(bytes);
  const Graph graph(bytes, "mutant");
  try {
    const Nodes nodes = FindNodes(graph, "", "");
    const Node* source = FindSource(graph, nodes.output);
    Output(graph.path(), nodes, source ? std::string(source->op) : "", "");
  } catch (const Error&) {
  }
  for (const Node& node : graph.nodes()) {
    graph.OutputType(node);
    graph.OutputShape(node);
  }
  for (const char* output : {"predictions", "probabilities"}) {
    for (const char* input : {"images", "inputs"}) {
      if (!graph.Find(output) || !graph.Find(input)) continue;
      for (bool allow_any_op : {true, false}) {
        CheckSubgraph(graph, {input, kFloat, {-1, 24, 24, 3}, output, allow_any_op});
      }
    }
  }
  graph.Labels();
}

void ReadImage(const std::string& bytes) {
  const Image image = Decode(bytes);
  Require(image.pixels.size() == size_t{3} * image.width * image.height, "no pixel is missing");
  const Image square = Resize(Crop(image, 24, 24), 24, 24);
  Require(square.pixels.size() == size_t{3} * 24 * 24, "a resized image has the requested size");
}

void ReadBatchFile(const std::string& bytes) {
  Batch batch;
  ReadBatch(bytes, "mutant", 4, 0, 1, &batch);
  Require(batch.images.size() == batch.labels.size() * 48, "a batch has an image per label");
}

void ReadProfile(const std::string& bytes) {
  std::map<std::string, OperationTime> total;
  AddProfile(bytes, &total);
}

void ReadOnnx(const std::string& bytes) {
  FileKind(bytes);
  for (const std::string& label : OnnxLabels(bytes)) {
    Require(OneLine(label, label.size()) == label, "a label is one line");
  }
  OnnxSourceOp(bytes, "predictions");
}

void ReadTflite(const std::string& bytes) {
  FileKind(bytes);
  for (const std::string& label : TfliteLabels(bytes)) {
    Require(OneLine(label, label.size()) == label, "a label is one line");
  }
}

void ReadCard(const std::string& bytes) {
  const ModelCard card = ParseModelCard(bytes, 5);
  Require(card.accuracy <= 1, "an accuracy is at most 1");
  const std::string title = GraphTitle("graph", card);
  Require(OneLine(title, title.size()) == title, "a title is one line");
}

struct FileFormat {
  const char* name;
  const char* extension;
  void (*read)(const std::string&);
  int share;                            // of the mutants, relative to the others
  std::vector<std::string> seeds = {};  // valid files
  int mutants = 0, rejected = 0;
};

// Correct the checksums of a damaged PNG, so that it passes the checksum test.
void FixPngChecksums(std::string* file) {
  auto* bytes = reinterpret_cast<unsigned char*>(file->data());
  for (size_t start = 8; start + 12 <= file->size();) {
    const unsigned char* chunk = bytes + start;
    const size_t size = size_t{chunk[0]} << 24 | chunk[1] << 16 | chunk[2] << 8 | chunk[3];
    if (size > file->size() - start - 12) return;
    const auto sum = static_cast<uint32_t>(crc32(0, chunk + 4, static_cast<uInt>(size + 4)));
    for (int i = 0; i < 4; ++i) {
      bytes[start + 8 + size + i] = static_cast<unsigned char>(sum >> (24 - 8 * i));
    }
    start += size + 12;
  }
}

std::string Mutate(const std::vector<std::string>& seeds, Random* random) {
  std::string bytes = seeds[Below(random, seeds.size())];
  for (uint64_t changes = 1 + Below(random, 6); changes > 0 && !bytes.empty(); --changes) {
    // Half of the changes are near the start, where the headers are.
    const size_t end = Below(random, 2) ? std::min<size_t>(bytes.size(), 128) : bytes.size();
    const size_t start = Below(random, end);
    const size_t size = Below(random, std::min<size_t>(bytes.size() - start, 64));
    switch (Below(random, 8)) {
      case 0:
      case 1: bytes[start] = static_cast<char>(bytes[start] ^ 1 << Below(random, 8)); break;
      case 2: {  // a number at a limit, in either byte order
        static constexpr uint32_t kNumbers[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x10000,
                                                0x7fffffff, 0x80000000, 0xffffffff, 10000};
        const uint32_t number = kNumbers[Below(random, std::size(kNumbers))];
        const bool big_endian = Below(random, 2);
        for (size_t i = 0; i < 4 && start + i < bytes.size(); ++i) {
          bytes[start + i] = static_cast<char>(number >> 8 * (big_endian ? 3 - i : i));
        }
        break;
      }
      case 3: bytes.erase(start, size); break;
      case 4: bytes.insert(start, bytes.substr(Below(random, bytes.size()), size)); break;
      case 5: bytes.resize(Below(random, 4) ? bytes.size() - size : start); break;
      case 6: {  // the start of this file and the end of another
        const std::string& other = seeds[Below(random, seeds.size())];
        bytes = bytes.substr(0, start) + other.substr(Below(random, other.size()));
        break;
      }
      case 7:
        for (size_t i = 0; i <= size; ++i) bytes[start + i] = static_cast<char>((*random)());
        break;
    }
  }
  if (bytes.compare(0, 4, "\x89PNG") == 0 && Below(random, 4)) FixPngChecksums(&bytes);
  return bytes;
}

void Fuzz(int count, int seed, const std::vector<std::string>& paths) {
  FileFormat formats[] = {{"graphs", ".pb", ReadGraph, 2},
                          {"batch files", ".bin", ReadBatchFile, 1},
                          {"profiles", ".run_metadata", ReadProfile, 1},
                          {"ONNX", ".onnx", ReadOnnx, 1},
                          {"TFLite", ".tflite", ReadTflite, 1},
                          {"cards", ".json", ReadCard, 1},
                          {"images", "", ReadImage, 6}};
  for (const std::string& path : paths) {
    const std::string extension = std::filesystem::path(path).extension();
    FileFormat* format = formats;
    while (*format->extension && extension != format->extension) ++format;
    format->seeds.push_back(ReadFile(path));
    format->read(format->seeds.back());  // a valid file: must not throw
  }
  std::vector<FileFormat*> schedule;
  for (FileFormat& format : formats) {
    if (format.seeds.empty()) throw Error("no ", format.name, " to damage");
    schedule.insert(schedule.end(), format.share, &format);
  }
  Random random(seed);
  double max_seconds = 0;
  for (int i = 0; i < count; ++i) {
    FileFormat* format = schedule[i % schedule.size()];
    const std::string mutant = Mutate(format->seeds, &random);
    const auto start = std::chrono::steady_clock::now();
    ++format->mutants;
    try {
      format->read(mutant);
    } catch (const Error& error) {
      ++format->rejected;
      Require(OneLine(error.what(), 1000) == error.what(), "a message is one line");
    }
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    max_seconds = std::max(max_seconds, time.count());
    Require(max_seconds <= kMaxSeconds, "a file is parsed within 20 s");
  }
  for (const FileFormat& format : formats) {
    printf("%-12s %6d mutants, %6d rejected\n", format.name, format.mutants, format.rejected);
  }
  printf("%d mutants, no report, the slowest took %.2f s\n", count, max_seconds);
}

}  // namespace
}  // namespace label_image

int main(int argc, char** argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: fuzz COUNT SEED FILE...\n");
    return 2;
  }
  label_image::Fuzz(atoi(argv[1]), atoi(argv[2]), {argv + 3, argv + argc});
}
