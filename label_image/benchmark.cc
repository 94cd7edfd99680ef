#include "benchmark.h"

#include <dlfcn.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <random>

#include "network.h"
#include "session_config.h"
#include "wire.h"

namespace label_image {
namespace {

// Field numbers of TensorFlow's config.proto and step_stats.proto.
enum StatsField { kStepStats = 1, kDeviceStats = 1, kNodeStats = 2 };
enum NodeStatsField { kNodeName = 1, kStartMicros = 3, kEndMicros = 4, kLabel = 8,
                      kStartNanos = 14, kEndNanos = 15 };

Tensor RandomInput(const Network& network, int64_t batch_size) {
  const int side = network.image_size();
  std::vector<uint8_t> images(size_t{3} * side * side * batch_size);
  std::mt19937 random(1);
  for (uint8_t& byte : images) byte = static_cast<uint8_t>(random());
  return network.Input(images.data(), batch_size);
}

}  // namespace

Statistics Summarize(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto percentile = [&values](double share) {
    const double rank = share * (values.size() - 1);
    const auto low = static_cast<size_t>(rank);
    const size_t high = std::min(low + 1, values.size() - 1);
    return values[low] + (rank - low) * (values[high] - values[low]);
  };
  return {values[0], percentile(0.5),
          std::accumulate(values.begin(), values.end(), 0.) / values.size(), percentile(0.9),
          percentile(0.99)};
}

Timing Benchmark(Network* network, int64_t batch_size, int warmup, int runs, int repeats) {
  const Tensor input = RandomInput(*network, batch_size);
  for (int i = 0; i < warmup; ++i) network->Run(input);
  Timing timing;
  std::vector<double> all;
  all.reserve(size_t{1} * runs * repeats);
  for (int repeat = 0; repeat < repeats; ++repeat) {
    for (int i = 0; i < runs; ++i) {
      const auto start = std::chrono::steady_clock::now();
      network->Run(input);
      const std::chrono::duration<double, std::milli> taken =
          std::chrono::steady_clock::now() - start;
      all.push_back(taken.count());
    }
    timing.medians_ms.push_back(Summarize({all.end() - runs, all.end()}).median);
  }
  timing.latency_ms = Summarize(all);
  timing.images_per_second = 1000 * batch_size / timing.latency_ms.median;
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  timing.peak_rss_mb = usage.ru_maxrss / 1024.;
  timing.allocator = dlsym(RTLD_DEFAULT, "tc_version") ? "tcmalloc" : "libc";
  return timing;
}

void AddProfile(std::string_view run_metadata, std::map<std::string, Operation>* total) {
  wire::Field stats, device, node, field;
  for (wire::Reader metadata(run_metadata); metadata.Next(&stats);) {
    if (stats.number != kStepStats) continue;
    for (wire::Reader steps(stats.AsBytes()); steps.Next(&device);) {
      if (device.number != kDeviceStats) continue;
      for (wire::Reader devices(device.AsBytes()); devices.Next(&node);) {
        if (node.number != kNodeStats) continue;
        std::string_view name, label;
        double microseconds = 0, nanoseconds = 0;
        for (wire::Reader nodes(node.AsBytes()); nodes.Next(&field);) {
          switch (field.number) {
            case kNodeName: name = field.AsBytes(); break;
            case kLabel: label = field.AsBytes(); break;
            case kStartMicros: microseconds -= static_cast<int64_t>(field.AsVarint()); break;
            case kEndMicros: microseconds += static_cast<int64_t>(field.AsVarint()); break;
            case kStartNanos: nanoseconds -= static_cast<int64_t>(field.AsVarint()); break;
            case kEndNanos: nanoseconds += static_cast<int64_t>(field.AsVarint()); break;
          }
        }
        Operation& operation = (*total)[std::string(name)];
        operation.node = name;
        // The label is "node = Op(inputs)".
        const size_t equals = label.find(" = ");
        if (equals != label.npos) {
          const std::string_view rest = label.substr(equals + 3);
          operation.op = rest.substr(0, rest.find('('));
        } else if (operation.op.empty()) {  // 2.x: "node:Op"
          const size_t colon = name.rfind(':');
          operation.op = colon == name.npos ? "" : name.substr(colon + 1);
          operation.node = name.substr(0, colon);
        }
        operation.microseconds += nanoseconds > 0 ? nanoseconds / 1000 : microseconds;
      }
    }
  }
}

std::vector<Operation> Profile(Network* network, int64_t batch_size, int runs) {
  const Tensor input = RandomInput(*network, batch_size);
  network->Run(input);
  std::map<std::string, Operation> total;
  const std::string options = TraceOptions();
  std::string metadata;
  network->Run(input, options, &metadata);  // the first trace sets itself up
  for (int i = 0; i < runs; ++i) {
    network->Run(input, options, &metadata);
    AddProfile(metadata, &total);
  }
  std::vector<Operation> operations;
  for (auto& [name, operation] : total) {
    operation.microseconds /= runs;
    operations.push_back(std::move(operation));
  }
  std::stable_sort(operations.begin(), operations.end(),
                   [](const Operation& a, const Operation& b) {
                     return a.microseconds > b.microseconds;
                   });
  return operations;
}

}  // namespace label_image
