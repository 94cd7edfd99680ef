#include "runtime/benchmark.h"

#include <dlfcn.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <random>

namespace label_image {
namespace {

// Percentiles are interpolated linearly between the nearest ranks, as NumPy does.
Latency Summarize(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  const auto percentile = [&times](double fraction) {
    const double rank = fraction * (times.size() - 1);
    const auto low = static_cast<size_t>(rank);
    const size_t high = std::min(low + 1, times.size() - 1);
    return times[low] + (rank - low) * (times[high] - times[low]);
  };
  const double mean = std::accumulate(times.begin(), times.end(), 0.) / times.size();
  return {times[0], percentile(0.5), mean, percentile(0.9), percentile(0.99)};
}

}  // namespace

Tensor RandomInput(const Network& network, int64_t batch_size) {
  const int side = network.image_size();
  std::vector<uint8_t> images(size_t{3} * side * side * batch_size);
  std::mt19937 random(1);
  for (uint8_t& byte : images) byte = static_cast<uint8_t>(random());
  return network.Input(images.data(), batch_size);
}

BenchmarkResult Benchmark(Network* network, int64_t batch_size, int warmup, int runs, int repeats) {
  const Tensor input = RandomInput(*network, batch_size);
  for (int i = 0; i < warmup; ++i) network->Run(input);
  BenchmarkResult result;
  std::vector<double> times;
  times.reserve(size_t{1} * runs * repeats);
  for (int repeat = 0; repeat < repeats; ++repeat) {
    for (int i = 0; i < runs; ++i) {
      const auto start = std::chrono::steady_clock::now();
      network->Run(input);
      const std::chrono::duration<double, std::milli> time =
          std::chrono::steady_clock::now() - start;
      times.push_back(time.count());
    }
    result.medians_ms.push_back(Summarize({times.end() - runs, times.end()}).median);
  }
  result.latency_ms = Summarize(times);
  result.images_per_second = 1000 * batch_size / result.latency_ms.median;
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  result.peak_rss_mb = usage.ru_maxrss / 1024.;
  result.allocator = dlsym(RTLD_DEFAULT, "tc_version") ? "tcmalloc" : "libc";
  return result;
}

}  // namespace label_image
