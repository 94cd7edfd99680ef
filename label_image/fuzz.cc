// Damages graphs, images, batch files and profiles in many ways and reads them, in one process.
// Built with sanitizers (make sanitize), which end it at the first report.
//
// usage: fuzz [COUNT [SEED [GRAPH.pb...]]]

#include <stdio.h>
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
#include "fuzz_seeds.h"
#include "graph.h"
#include "image.h"

namespace label_image {
namespace {

using Random = std::mt19937_64;

// No input may take longer; under sanitizers, on a busy machine.
constexpr double kMostSeconds = 20;

uint64_t Below(Random* random, uint64_t n) { return n ? (*random)() % n : 0; }

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
  Kind graph = {"graphs", ReadGraph, {SeedGraph()}};
  for (const std::string& path : graphs) graph.seeds.push_back(ReadFile(path));
  return {{"images", ReadImage, SeedImages()}, graph,
          {"batch files", ReadBatchFile, {SeedRecords(5, 4)}},
          {"profiles", ReadProfile, {SeedProfile()}}};
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
