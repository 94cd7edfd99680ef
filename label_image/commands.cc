#include "commands.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "error.h"
#include "file.h"
#include "images/batch.h"
#include "images/image.h"
#include "inference/benchmark.h"
#include "inference/evaluate.h"
#include "json.h"

namespace label_image {
namespace {

constexpr size_t kMaxLabelBytes = 1 << 20;

// Return the class names: from --labels, else from the graph, its json, or class indices.
std::vector<std::string> ClassNames(const Flags& flags, const Network& network, size_t classes) {
  const bool in_graph = flags.labels.empty();
  std::vector<std::string> names =
      in_graph ? network.model().Labels() : Lines(ReadFile(flags.labels, kMaxLabelBytes));
  if (in_graph && names.empty()) names = network.card().classes;
  if (in_graph && names.empty()) {
    for (size_t i = 0; i < classes; ++i) names.push_back(std::to_string(i));
  }
  if (names.size() == classes) return names;
  throw Error(in_graph ? network.name() : flags.labels, ": ", names.size(),
              names.size() == 1 ? " label for " : " labels for ", classes,
              " classes: give --labels FILE with a name for each class");
}

// Print one JSON object: the members that every command prints, then `members`.
void PrintJson(const Flags& flags, const Backend& backend, const Network& network,
               const json::Object& members) {
  json::Object object = {{"graph", network.name()},
                         {"runtime", backend.name},
                         {"version", backend.version},
                         {"precision", flags.model.precision},
                         {"library", backend.library},
                         {"node", network.node()},
                         {"output", network.output()}};
  if (!network.card().model.empty()) object.push_back({"model", network.card().model});
  if (network.card().accuracy >= 0) object.push_back({"graph_accuracy", network.card().accuracy});
  if (backend.name == "TensorFlow") object.push_back({"tensorflow", backend.version});
  object.insert(object.end(), members.begin(), members.end());
  printf("%s\n", json::Value(object).text.c_str());
}

// Read an image in the size that `network` expects.
Image ReadImage(const std::string& path, const Network& network) {
  const std::string bytes = ReadFile(path);
  try {
    const Image image = Decode(bytes);
    if (network.any_size()) return image;
    const int height = network.image_height(), width = network.image_width();
    return Resize(Crop(image, height, width), height, width);
  } catch (const Error& error) {
    throw Error(path, ": ", error.what());
  }
}

// Return the classes with the highest probabilities; `raw`: values that are not probabilities.
// Without --json, also print them.
json::Object TopClasses(const Flags& flags, const std::string& path, const float* values, bool raw,
                        const std::vector<std::string>& names) {
  std::vector<int> order(names.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [values](int a, int b) {
    return values[a] > values[b];
  });
  order.resize(std::min(order.size(), static_cast<size_t>(flags.top)));
  std::vector<json::Object> top;
  if (!flags.json) printf("%s\n", Printable(path).c_str());
  for (int index : order) {
    const float value = values[index];
    if (!flags.json && raw) printf("  %10.6g  %s\n", value, names[index].c_str());
    if (!flags.json && !raw) printf("  %6.2f %%  %s\n", 100 * value, names[index].c_str());
    top.push_back({{"label", names[index]}, {raw ? "value" : "probability", value}});
  }
  return {{"image", path}, {"top", top}};
}

void PrintBenchmark(const Flags& flags, const Backend& backend, const Network& network,
                    const BenchmarkResult& result, const std::vector<OperationTime>& profile) {
  const Latency& latency = result.latency_ms;
  printf("graph: %s\n%s -> %s, batch size %d, %d thread%s, %s, %d x %d runs after %d for warm-up\n",
         GraphTitle(network.name(), network.card()).c_str(), OneLine(network.node()).c_str(),
         OneLine(network.output()).c_str(), flags.batch_size, flags.model.threads,
         flags.model.threads == 1 ? "" : "s", RuntimeText(backend, flags.model).c_str(),
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
           100 * operation.microseconds / sum, OneLine(operation.op).c_str(),
           OneLine(operation.node).c_str());
  }
}

// Print the graph and how it is fed; the runtime, too, unless the suffix chooses it and the
// precision is float32.
void PrintHead(const Flags& flags, const Backend& backend, const Network& network) {
  fputs(network.Describe().c_str(), stdout);
  if (!flags.runtime.empty() || flags.model.precision != "float32") {
    printf("runtime: %s\n", RuntimeText(backend, flags.model).c_str());
  }
}

int ClassifyImages(const Flags& flags, const Backend& backend, Network* network) {
  std::vector<json::Object> results;
  std::vector<std::string> paths;  // of the images in `pixels`
  std::vector<uint8_t> pixels;
  const size_t batch_size = network->any_size() ? 1 : flags.batch_size;
  int height = 0, width = 0;
  bool any_failed = false;
  std::vector<std::string> names;
  for (const std::string& path : flags.images) {
    try {
      const Image image = ReadImage(path, *network);
      height = image.height, width = image.width;
      pixels.insert(pixels.end(), image.pixels.begin(), image.pixels.end());
      paths.push_back(path);
    } catch (const Error& error) {
      PrintError(error.what());
      any_failed = true;
    }
    const bool full = paths.size() == batch_size;
    if (paths.empty() || (!full && &path != &flags.images.back())) continue;
    const Probabilities probabilities =
        network->Classify(pixels.data(), paths.size(), height, width);
    if (names.size() != probabilities.classes) {
      names = ClassNames(flags, *network, probabilities.classes);
    }
    const bool raw = network->meaning().kind() == OutputKind::kRaw;
    if (!flags.json && results.empty()) PrintHead(flags, backend, *network);
    for (size_t j = 0; j < paths.size(); ++j) {
      results.push_back(TopClasses(flags, paths[j], probabilities.row(j), raw, names));
    }
    fflush(stdout);  // a crash in a later batch would lose it
    paths.clear();
    pixels.clear();
  }
  if (flags.json) {
    PrintJson(flags, backend, *network, {{"preprocessing", network->preprocessing()},
                         {"output_kind", network->meaning().kind_name()},
                         {"images", results}});
  }
  return any_failed ? 1 : 0;
}

int EvaluateFiles(const Flags& flags, const Backend& backend, Network* network) {
  const Batch batch =
      ReadBatches(flags.batch_files, network->image_size(), flags.limit, flags.label_bytes);
  const int64_t batch_size = std::min(network->BatchSize(flags.batch_size),
                                      static_cast<int64_t>(batch.labels.size()));
  // The first run is not timed: it optimizes the graph and allocates memory. It counts the classes,
  // so that wrong labels show before all images are classified.
  const size_t classes = network->Classify(batch.images.data(), batch_size).classes;
  const std::vector<std::string> names = ClassNames(flags, *network, classes);
  const Metrics metrics = Evaluate(network, batch, batch_size, !flags.predictions.empty());
  std::string failure;  // does not lose the metrics
  try {
    if (!flags.predictions.empty()) WriteFile(flags.predictions, PredictionLines(batch, metrics));
  } catch (const Error& error) {
    failure = error.what();
  }
  if (flags.json) {
    json::Object members = {{"preprocessing", network->preprocessing()},
                            {"output_kind", network->meaning().kind_name()},
                            {"images", metrics.images},
                            {"correct", metrics.correct},
                            {"accuracy", metrics.accuracy()},
                            {"labels", names},
                            {"images_per_second", metrics.images_per_second},
                            {"batch_size", metrics.batch_size},
                            {"threads", flags.model.threads}};
    if (!metrics.confusion.empty()) members.push_back({"confusion", metrics.confusion});
    PrintJson(flags, backend, *network, members);
  } else {
    PrintHead(flags, backend, *network);
    fputs(FormatMetrics(metrics, names).c_str(), stdout);
  }
  if (!failure.empty()) throw Error(failure);
  return 0;
}

int RunBenchmark(const Flags& flags, const Backend& backend, Network* network) {
  const BenchmarkResult result =
      Benchmark(network, flags.batch_size, flags.warmup, flags.runs, flags.repeats);
  std::vector<OperationTime> profile;
  if (flags.profile) {
    NetworkOptions options = flags.network;
    options.traced = true;
    options.card_path.clear();  // it has been read, with a note if it is damaged
    Network traced(&network->model(), options);
    profile = Profile(&traced, flags.batch_size, flags.runs);
  }
  if (!flags.json) {
    PrintBenchmark(flags, backend, *network, result, profile);
    return 0;
  }
  json::Object object = {{"input_shape", network->input_shape()},
                         {"batch_size", flags.batch_size},
                         {"threads", flags.model.threads},
                         {"warmup", flags.warmup},
                         {"runs", flags.runs},
                         {"repeats", flags.repeats},
                         {"latency_ms", LatencyJson(result.latency_ms)},
                         {"repeat_medians_ms", result.medians_ms},
                         {"images_per_second", result.images_per_second},
                         {"peak_rss_mb", result.peak_rss_mb},
                         {"allocator", result.allocator}};
  std::vector<json::Object> operations;
  for (const auto& [node, op, microseconds] : profile) {
    operations.push_back({{"node", node}, {"op", op}, {"microseconds", microseconds}});
  }
  if (flags.profile) object.push_back({"profile", operations});
  PrintJson(flags, backend, *network, object);
  return 0;
}

}  // namespace

int RunCommand(const Flags& flags, const Backend& backend, Network* network) {
  if (flags.benchmark) return RunBenchmark(flags, backend, network);
  return flags.images.empty() ? EvaluateFiles(flags, backend, network)
                              : ClassifyImages(flags, backend, network);
}

}  // namespace label_image
