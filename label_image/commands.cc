#include "commands.h"

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <sstream>

#include "error.h"
#include "file.h"
#include "images/batch.h"
#include "images/image.h"
#include "json.h"
#include "runtime/benchmark.h"
#include "runtime/evaluate.h"
#include "runtime/profile.h"

namespace label_image {
namespace {

std::vector<std::string> ReadLabels(const std::string& path) {
  std::vector<std::string> labels;
  std::istringstream lines(ReadFile(path, 1 << 20));
  for (std::string line; std::getline(lines, line);) {
    const std::string label = OneLine(line.substr(0, line.find_last_not_of(" \r\t") + 1), 100);
    if (!label.empty()) labels.push_back(label);
  }
  return labels;
}

// Return the class names: from --labels, else from the graph, else numbers.
std::vector<std::string> ClassNames(const Flags& flags, const Graph& graph, size_t classes) {
  std::vector<std::string> names = flags.labels.empty() ? graph.Labels() : ReadLabels(flags.labels);
  if (names.empty() && flags.labels.empty()) {
    for (size_t i = 0; i < classes; ++i) names.push_back(std::to_string(i));
  }
  if (names.size() != classes) {
    throw Error(Format("%s: %zu labels for %zu classes",
                       (flags.labels.empty() ? flags.graph : flags.labels).c_str(), names.size(),
                       classes));
  }
  return names;
}

// Return the keys that every JSON output has.
json::Object JsonHeader(const Flags& flags, const TensorFlow& tf) {
  json::Object header;
  return header.Add("graph", flags.graph).Add("tensorflow", tf.version).Add("library", tf.path);
}

void PrintJson(const json::Object& object) { printf("%s\n", object.str().c_str()); }

Image ReadImage(const std::string& path, int side) {
  const std::string bytes = ReadFile(path);
  try {
    return Resize(CropSquare(Decode(bytes)), side);
  } catch (const Error& error) {
    throw Error(path + ": " + error.what());
  }
}

// Print the classes with the highest probabilities, or return them for JSON output.
json::Object TopClasses(const Flags& flags, const std::string& path, const float* probabilities,
                        const std::vector<std::string>& names) {
  std::vector<int> order(names.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [probabilities](int a, int b) {
    return probabilities[a] > probabilities[b];
  });
  order.resize(std::min(order.size(), static_cast<size_t>(flags.top)));
  std::vector<json::Object> top(order.size());
  if (!flags.json) printf("%s\n", path.c_str());
  for (size_t i = 0; i < order.size(); ++i) {
    const std::string& name = names[order[i]];
    const float probability = probabilities[order[i]];
    if (!flags.json) printf("  %6.2f %%  %s\n", 100 * probability, name.c_str());
    top[i].Add("label", name).Add("probability", probability);
  }
  json::Object result;
  return result.Add("image", path).Add("top", top);
}

void PrintBenchmark(const Flags& flags, const TensorFlow& tf, const Network& network,
                    const BenchmarkResult& result, const std::vector<OperationTime>& profile) {
  const Latency& latency = result.latency_ms;
  printf("%s -> %s, batch size %d, %d thread%s, TensorFlow %s, %d x %d runs after %d for warm-up\n",
         network.node().c_str(), network.output().c_str(), flags.batch_size,
         flags.network.threads, flags.network.threads == 1 ? "" : "s", tf.version.c_str(),
         flags.repeats, flags.runs, flags.warmup);
  printf("  latency in ms: min %.3f  median %.3f  mean %.3f  p90 %.3f  p99 %.3f\n", latency.min,
         latency.median, latency.mean, latency.p90, latency.p99);
  printf("  %.1f images/s, peak memory %.0f MB, allocator %s\n", result.images_per_second,
         result.peak_rss_mb, result.allocator.c_str());
  if (flags.profile && profile.empty()) printf("  this library provides no profile\n");
  double sum = 0;
  for (const OperationTime& operation : profile) sum += operation.microseconds;
  for (const OperationTime& operation : profile) {
    printf("  %9.1f us %5.1f %%  %-20s %s\n", operation.microseconds,
           100 * operation.microseconds / sum, operation.op.c_str(), operation.node.c_str());
  }
}

}  // namespace

int ClassifyImages(const Flags& flags, const TensorFlow& tf, const Graph& graph,
                   Network* network) {
  std::vector<json::Object> results;
  std::vector<std::string> paths;  // of the images in `pixels`
  std::vector<uint8_t> pixels;
  bool any_bad = false;
  for (size_t i = 0; i < flags.images.size(); ++i) {
    const std::string& path = flags.images[i];
    try {
      const Image image = ReadImage(path, network->image_size());
      pixels.insert(pixels.end(), image.pixels.begin(), image.pixels.end());
      paths.push_back(path);
    } catch (const Error& error) {
      PrintError(error.what());
      any_bad = true;
    }
    const bool last = i + 1 == flags.images.size();
    if (paths.empty() || (paths.size() < static_cast<size_t>(flags.batch_size) && !last)) continue;
    const Probabilities probabilities = network->Classify(pixels.data(), paths.size());
    const auto names = ClassNames(flags, graph, probabilities.classes);
    for (size_t j = 0; j < paths.size(); ++j) {
      results.push_back(TopClasses(flags, paths[j], probabilities.row(j), names));
    }
    paths.clear();
    pixels.clear();
  }
  if (flags.json) PrintJson(JsonHeader(flags, tf).Add("images", results));
  return any_bad ? 1 : 0;
}

int EvaluateFiles(const Flags& flags, const TensorFlow& tf, const Graph& graph,
                  Network* network) {
  Batch batch;
  for (const std::string& path : flags.batch_files) {
    const Batch part = ReadBatch(ReadFile(path), path, network->image_size(), flags.limit,
                                 flags.label_bytes);
    batch.labels.insert(batch.labels.end(), part.labels.begin(), part.labels.end());
    batch.images.insert(batch.images.end(), part.images.begin(), part.images.end());
  }
  if (flags.limit && batch.labels.size() > static_cast<size_t>(flags.limit)) {
    batch.labels.resize(flags.limit);
  }
  const Metrics metrics = Evaluate(network, batch, flags.batch_size);
  const auto names = ClassNames(flags, graph, metrics.confusion.size());
  if (!flags.predictions.empty()) {
    WriteFile(flags.predictions, PredictionLines(batch, metrics));
  }
  if (flags.json) {
    PrintJson(JsonHeader(flags, tf)
                  .Add("images", metrics.images)
                  .Add("correct", metrics.correct)
                  .Add("accuracy", metrics.accuracy())
                  .Add("confusion", metrics.confusion)
                  .Add("labels", names)
                  .Add("images_per_second", metrics.images / metrics.seconds)
                  .Add("batch_size", flags.batch_size)
                  .Add("threads", flags.network.threads));
  } else {
    fputs(FormatMetrics(metrics, names).c_str(), stdout);
  }
  return 0;
}

int RunBenchmark(const Flags& flags, const TensorFlow& tf, const Graph& graph, Network* network) {
  const BenchmarkResult result =
      Benchmark(network, flags.batch_size, flags.warmup, flags.runs, flags.repeats);
  std::vector<OperationTime> profile;
  if (flags.profile) {
    NetworkOptions options = flags.network;
    options.traced = true;
    Network traced(tf, graph, options);
    profile = Profile(&traced, flags.batch_size, flags.runs);
  }
  if (!flags.json) {
    PrintBenchmark(flags, tf, *network, result, profile);
    return 0;
  }
  json::Object latency, answer = JsonHeader(flags, tf);
  latency.Add("min", result.latency_ms.min)
      .Add("median", result.latency_ms.median)
      .Add("mean", result.latency_ms.mean)
      .Add("p90", result.latency_ms.p90)
      .Add("p99", result.latency_ms.p99);
  answer.Add("node", network->node())
      .Add("output", network->output())
      .Add("input_shape", network->input_shape())
      .Add("batch_size", flags.batch_size)
      .Add("threads", flags.network.threads)
      .Add("warmup", flags.warmup)
      .Add("runs", flags.runs)
      .Add("repeats", flags.repeats)
      .Add("latency_ms", latency)
      .Add("repeat_medians_ms", result.medians_ms)
      .Add("images_per_second", result.images_per_second)
      .Add("peak_rss_mb", result.peak_rss_mb)
      .Add("allocator", result.allocator);
  std::vector<json::Object> operations(profile.size());
  for (size_t i = 0; i < profile.size(); ++i) {
    operations[i].Add("node", profile[i].node)
        .Add("op", profile[i].op)
        .Add("microseconds", profile[i].microseconds);
  }
  if (flags.profile) answer.Add("profile", operations);
  PrintJson(answer);
  return 0;
}

}  // namespace label_image
