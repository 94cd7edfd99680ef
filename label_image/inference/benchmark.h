// Latency over many runs, of the network and of each operation.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "inference/network.h"
#include "json.h"

namespace label_image {

// Statistics of one or more run times.
struct Latency {
  double min = 0, median = 0, mean = 0, p90 = 0, p99 = 0;
};

Latency Summarize(std::vector<double> times);

// Return the members of `latency` for --json.
json::Object LatencyJson(const Latency& latency);

// Return random images as the network expects them, the same each time.
Tensor RandomInput(const Network& network, int64_t batch_size);

// Return the times of `runs` runs in ms.
std::vector<double> TimeRuns(Network* network, const Tensor& input, int runs);

// Return the most memory that this process has had, in MB.
double PeakMemory();

struct BenchmarkResult {
  Latency latency_ms;              // of all runs of all repeats
  std::vector<double> medians_ms;  // of each repeat
  double images_per_second = 0;    // from the median
  double peak_rss_mb = 0;          // of the process, with the library
  std::string allocator;           // tcmalloc or libc
};

// Measure `repeats` times `runs` runs on random images. The `warmup` runs before are not measured:
// the first one optimizes the graph and allocates memory.
BenchmarkResult Benchmark(Network* network, int64_t batch_size, int warmup, int runs, int repeats);

struct OperationTime {
  std::string node, op;
  double microseconds = 0;  // per run
};

// Return the mean times of all operations over `runs` traced runs, the slowest first, or nothing if
// the library does not provide them. Tracing slows the runs down, so compare the times with each
// other, not with the latency.
std::vector<OperationTime> Profile(Network* network, int64_t batch_size, int runs);

// Add the times in a serialized RunMetadata to `total`, by node.
void AddProfile(std::string_view run_metadata, std::map<std::string, OperationTime>* total);

}  // namespace label_image
