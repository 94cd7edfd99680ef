#include "inference/benchmark.h"

#include <dlfcn.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <random>

#include "graph/wire.h"
#include "process/proc_file.h"

namespace label_image {
namespace {

// Field numbers in TensorFlow's step_stats.proto.
enum StatsField { kStepStats = 1, kDeviceStats = 1, kNodeStats = 2 };
enum NodeStatsField { kNodeName = 1, kStartMicros = 3, kEndMicros = 4, kLabel = 8,
                      kStartNanos = 14, kEndNanos = 15 };

void AddNode(std::string_view stats, std::map<std::string, OperationTime>* total) {
  const auto time = [stats](uint32_t start, uint32_t end) {
    return static_cast<int64_t>(wire::LastVarint(stats, end) - wire::LastVarint(stats, start));
  };
  const double nanoseconds = time(kStartNanos, kEndNanos);
  const double microseconds =
      nanoseconds > 0 ? nanoseconds / 1000 : time(kStartMicros, kEndMicros);
  if (microseconds <= 0) return;  // 1.15 lists a node again as "node:Op", without a time
  const std::string_view full_name = wire::LastBytes(stats, kNodeName);
  const std::string_view label = wire::LastBytes(stats, kLabel);
  const size_t colon = full_name.rfind(':');  // 2.x: the name is "node:Op"
  const std::string node(full_name.substr(0, colon));
  OperationTime& operation = (*total)[node];
  operation.node = node;
  const size_t equals = label.find(" = ");
  if (equals != label.npos) {  // the label is "node = Op(inputs)"
    const std::string_view call = label.substr(equals + 3);
    operation.op = call.substr(0, call.find('('));
  } else if (colon != full_name.npos) {
    operation.op = full_name.substr(colon + 1);
  }
  operation.microseconds += microseconds;
}

}  // namespace

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

json::Object LatencyJson(const Latency& latency) {
  return {{"min", latency.min}, {"median", latency.median}, {"mean", latency.mean},
          {"p90", latency.p90}, {"p99", latency.p99}};
}

Tensor RandomInput(const Network& network, int64_t batch_size) {
  const int height = network.image_height(), width = network.image_width();
  std::vector<uint8_t> images(size_t{3} * height * width * batch_size);
  std::mt19937 random(1);
  for (uint8_t& byte : images) byte = static_cast<uint8_t>(random());
  return network.Input(images.data(), batch_size, height, width);
}

std::vector<double> TimeRuns(Network* network, const Tensor& input, int runs) {
  std::vector<double> times(runs);
  for (double& time : times) {
    const auto start = std::chrono::steady_clock::now();
    network->Run(input);
    time = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
               .count();
  }
  return times;
}

double PeakMemory() {
  if (const auto peak = ReadProcField("/proc/self/status", "VmHWM")) return *peak / 1e6;
  // It may be larger: the memory that the process had before exec counts, too.
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024 / 1e6;
}

BenchmarkResult Benchmark(Network* network, int64_t batch_size, int warmup, int runs, int repeats) {
  const Tensor input = RandomInput(*network, batch_size);
  TimeRuns(network, input, warmup);
  BenchmarkResult result;
  std::vector<double> times;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const std::vector<double> more = TimeRuns(network, input, runs);
    times.insert(times.end(), more.begin(), more.end());
    result.medians_ms.push_back(Summarize(more).median);
  }
  result.latency_ms = Summarize(times);
  result.images_per_second = 1000 * batch_size / result.latency_ms.median;
  result.peak_rss_mb = PeakMemory();
  result.allocator = dlsym(RTLD_DEFAULT, "tc_version") ? "tcmalloc" : "libc";
  return result;
}

void AddProfile(std::string_view run_metadata, std::map<std::string, OperationTime>* total) {
  for (std::string_view stats : wire::AllBytes(run_metadata, kStepStats)) {
    for (std::string_view device : wire::AllBytes(stats, kDeviceStats)) {
      for (std::string_view node : wire::AllBytes(device, kNodeStats)) AddNode(node, total);
    }
  }
}

std::vector<OperationTime> Profile(Network* network, int64_t batch_size, int runs) {
  const Tensor input = RandomInput(*network, batch_size);
  std::map<std::string, OperationTime> total;
  std::string metadata;
  for (int i = 0; i <= runs; ++i) {
    network->Run(input, &metadata);
    if (i > 0) AddProfile(metadata, &total);  // the first run is slower
  }
  std::vector<OperationTime> operations;
  for (auto& [name, operation] : total) {
    operation.microseconds /= runs;
    operations.push_back(std::move(operation));
  }
  std::stable_sort(operations.begin(), operations.end(), [](const auto& a, const auto& b) {
    return a.microseconds > b.microseconds;
  });
  return operations;
}

}  // namespace label_image
