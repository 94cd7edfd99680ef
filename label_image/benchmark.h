// Timing: latency over many runs, and the share of each operation.

#ifndef LABEL_IMAGE_BENCHMARK_H_
#define LABEL_IMAGE_BENCHMARK_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace label_image {

class Network;

struct Statistics {
  double min = 0, median = 0, mean = 0, p90 = 0, p99 = 0;
};

// Of at least one number. Percentiles are interpolated linearly between the nearest ranks, as
// numpy's.
Statistics Summarize(std::vector<double> values);

struct Timing {
  Statistics latency_ms;           // over all runs of all repeats
  std::vector<double> medians_ms;  // of each repeat
  double images_per_second = 0;    // by the median
  double peak_rss_mb = 0;          // of the process, library and all
  std::string allocator;           // tcmalloc or libc
};

// Times `repeats` times `runs` runs on `batch_size` random images, after `warmup` runs that are
// not counted: the first one optimizes the graph and allocates.
Timing Benchmark(Network* network, int64_t batch_size, int warmup, int runs, int repeats);

// What one operation took.
struct Operation {
  std::string node, op;
  double microseconds = 0;  // mean of a run
};

// The operations of a serialized RunMetadata, added to `total` by node.
void AddProfile(std::string_view run_metadata, std::map<std::string, Operation>* total);

// The mean time of each operation over `runs` traced runs, the slowest first; empty where the
// library does not tell. Tracing slows the runs down: shares count, not sums.
std::vector<Operation> Profile(Network* network, int64_t batch_size, int runs);

}  // namespace label_image

#endif  // LABEL_IMAGE_BENCHMARK_H_
