// Latency over many runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/network.h"

namespace label_image {

// Statistics of one or more run times.
struct Latency {
  double min = 0, median = 0, mean = 0, p90 = 0, p99 = 0;
};

struct BenchmarkResult {
  Latency latency_ms;              // of all runs of all repeats
  std::vector<double> medians_ms;  // of each repeat
  double images_per_second = 0;    // from the median
  double peak_rss_mb = 0;          // of the process, with the library
  std::string allocator;           // tcmalloc or libc
};

// Return `batch_size` random images as the network expects them, the same each time.
Tensor RandomInput(const Network& network, int64_t batch_size);

// Measure `repeats` times `runs` runs on random images. The `warmup` runs before are not measured:
// the first one optimizes the graph and allocates memory.
BenchmarkResult Benchmark(Network* network, int64_t batch_size, int warmup, int runs, int repeats);

}  // namespace label_image
