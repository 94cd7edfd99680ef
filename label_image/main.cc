// label_image: a frozen graph classifies images, is evaluated, or is timed. See flags.cc.

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <numeric>
#include <sstream>

#include "batch.h"
#include "benchmark.h"
#include "error.h"
#include "file.h"
#include "flags.h"
#include "graph.h"
#include "guard.h"
#include "image.h"
#include "json.h"
#include "network.h"
#include "session_config.h"
#include "tensorflow.h"

namespace label_image {
namespace {

// One line on stderr.
void Complain(const std::string& message) {
  fflush(stdout);
  dprintf(RealStderr(), "label_image: %s\n", OneLine(message, 1000).c_str());
}

// Names for `classes` classes: from --labels, from the graph, or their numbers.
std::vector<std::string> Labels(const Flags& flags, const Graph& graph, int classes) {
  std::vector<std::string> labels;
  if (flags.labels.empty()) {
    labels = graph.Labels();
    for (int i = 0; labels.empty() && i < classes; ++i) {
      if (i + 1 == classes) {
        for (int j = 0; j < classes; ++j) labels.push_back(std::to_string(j));
      }
    }
  } else {
    std::istringstream lines(ReadFile(flags.labels, 1 << 20));
    for (std::string line; std::getline(lines, line);) {
      const std::string label = OneLine(line.substr(0, line.find_last_not_of(" \r\t") + 1), 100);
      if (!label.empty()) labels.push_back(label);
    }
  }
  if (static_cast<int>(labels.size()) != classes) {
    throw Failure(Format("%s: %zu labels for %d classes",
                         (flags.labels.empty() ? flags.graph : flags.labels).c_str(),
                         labels.size(), classes));
  }
  return labels;
}

json::Object Header(const Flags& flags, const TensorFlow& tf) {
  return json::Object().Add("graph", flags.graph).Add("tensorflow", tf.version)
      .Add("library", tf.path);
}

// Classifies the images; a bad one is complained of and does not keep the others from it.
int Classify(const Flags& flags, const TensorFlow& tf, const Graph& graph, Network* network) {
  std::vector<std::string> good, results;
  std::vector<uint8_t> pixels;
  bool complained = false;
  const auto flush = [&] {
    if (good.empty()) return;
    int classes = 0;
    const std::vector<float> all =
        network->Probabilities(pixels.data(), static_cast<int64_t>(good.size()), &classes);
    const std::vector<std::string> labels = Labels(flags, graph, classes);
    for (size_t i = 0; i < good.size(); ++i) {
      const float* row = &all[i * classes];
      std::vector<int> order(classes);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [row](int a, int b) { return row[a] > row[b]; });
      order.resize(std::min(flags.top, classes));
      std::string tops;
      if (!flags.json) printf("%s\n", good[i].c_str());
      for (int c : order) {
        if (!flags.json) printf("  %6.2f %%  %s\n", 100 * row[c], labels[c].c_str());
        json::Object top;
        tops += (tops.empty() ? "" : ", ") +
                top.Add("label", labels[c]).Add("probability", row[c]).str();
      }
      json::Object result;
      results.push_back(result.Add("image", good[i]).AddRaw("top", "[" + tops + "]").str());
    }
    good.clear();
    pixels.clear();
  };
  for (const std::string& path : flags.images) {
    try {
      const std::string bytes = ReadFile(path);
      Image image;
      try {
        image = Resize(CropSquare(Decode(bytes)), network->image_size());
      } catch (const Failure& failure) {
        throw Failure(path + ": " + failure.what());
      }
      pixels.insert(pixels.end(), image.pixels.begin(), image.pixels.end());
      good.push_back(path);
    } catch (const Failure& failure) {
      Complain(failure.what());
      complained = true;
    }
    if (static_cast<int>(good.size()) == flags.batch_size) flush();
  }
  flush();
  if (flags.json) {
    std::string list;
    for (const std::string& result : results) list += (list.empty() ? "" : ", ") + result;
    printf("%s\n", Header(flags, tf).AddRaw("images", "[" + list + "]").str().c_str());
  }
  return complained ? 1 : 0;
}

int EvaluateFile(const Flags& flags, const TensorFlow& tf, const Graph& graph, Network* network) {
  Batch batch;
  for (const std::string& path : flags.batch_files) {
    const Batch part =
        ReadBatch(ReadFile(path), path, network->image_size(), flags.limit,
                  flags.label_bytes ? flags.label_bytes : 1);
    batch.labels.insert(batch.labels.end(), part.labels.begin(), part.labels.end());
    batch.images.insert(batch.images.end(), part.images.begin(), part.images.end());
  }
  if (flags.limit && batch.labels.size() > static_cast<size_t>(flags.limit)) {
    batch.labels.resize(flags.limit);
  }
  const Figures figures = Evaluate(network, batch, flags.batch_size);
  const auto labels = Labels(flags, graph, static_cast<int>(figures.confusion.size()));
  if (!flags.predictions.empty()) {
    WriteFile(flags.predictions, PredictionLines(batch, figures));
  }
  if (flags.json) {
    printf("%s\n", Header(flags, tf).Add("images", figures.images)
                       .Add("correct", figures.correct).Add("accuracy", figures.accuracy())
                       .Add("confusion", figures.confusion).Add("labels", labels)
                       .Add("images_per_second", figures.images / figures.seconds)
                       .Add("batch_size", flags.batch_size).Add("threads", flags.threads)
                       .str().c_str());
  } else {
    fputs(Describe(figures, labels).c_str(), stdout);
  }
  return 0;
}

int Time(const Flags& flags, const TensorFlow& tf, const Graph& graph, NetworkOptions options,
         Network* network) {
  const Timing timing =
      Benchmark(network, flags.batch_size, flags.warmup, flags.runs, flags.repeats);
  std::vector<Operation> operations;
  if (flags.profile) {
    options.traced = true;
    Network traced(tf, graph, options, true);
    operations = Profile(&traced, flags.batch_size, flags.runs);
  }
  double sum = 0;
  for (const Operation& operation : operations) sum += operation.microseconds;
  const Statistics& ms = timing.latency_ms;
  if (flags.json) {
    json::Object latency, whole = Header(flags, tf);
    latency.Add("min", ms.min).Add("median", ms.median).Add("mean", ms.mean).Add("p90", ms.p90)
        .Add("p99", ms.p99);
    whole.Add("node", network->node()).Add("output", network->output())
        .Add("input_shape", network->input_shape()).Add("batch_size", flags.batch_size)
        .Add("threads", flags.threads).Add("warmup", flags.warmup).Add("runs", flags.runs)
        .Add("repeats", flags.repeats).AddRaw("latency_ms", latency.str())
        .Add("repeat_medians_ms", timing.medians_ms)
        .Add("images_per_second", timing.images_per_second)
        .Add("peak_rss_mb", timing.peak_rss_mb).Add("allocator", timing.allocator);
    std::string list;
    for (const Operation& operation : operations) {
      json::Object entry;
      list += (list.empty() ? "" : ", ") +
              entry.Add("node", operation.node).Add("op", operation.op)
                  .Add("microseconds", operation.microseconds).str();
    }
    if (flags.profile) whole.AddRaw("profile", "[" + list + "]");
    printf("%s\n", whole.str().c_str());
    return 0;
  }
  printf("%s -> %s, batch %d, %d thread%s, TensorFlow %s: %d x %d runs after %d to warm up\n",
         network->node().c_str(), network->output().c_str(), flags.batch_size, flags.threads,
         flags.threads == 1 ? "" : "s", tf.version.c_str(), flags.repeats, flags.runs,
         flags.warmup);
  printf("  ms a run: min %.3f  median %.3f  mean %.3f  p90 %.3f  p99 %.3f\n", ms.min, ms.median,
         ms.mean, ms.p90, ms.p99);
  printf("  %.1f images/s, peak memory %.0f MB, memory from %s\n", timing.images_per_second,
         timing.peak_rss_mb, timing.allocator.c_str());
  if (flags.profile && operations.empty()) printf("  this library gives no profile\n");
  for (const Operation& operation : operations) {
    printf("  %9.1f us %5.1f %%  %-20s %s\n", operation.microseconds,
           100 * operation.microseconds / sum, operation.op.c_str(), operation.node.c_str());
  }
  return 0;
}

int Run(int argc, char** argv) {
  Flags flags = ParseFlags(argc, argv);
  if (flags.help) {
    fputs(Usage().c_str(), stdout);
    return 0;
  }
  if (!flags.batch_size) flags.batch_size = flags.benchmark ? 1 : 100;
  if (!flags.threads) flags.threads = flags.benchmark ? 1 : Processors();
  // Files first: mistakes are answered before a second is spent on loading TensorFlow.
  const Graph graph(ReadFile(flags.graph), flags.graph);
  NetworkOptions options;
  options.node = flags.node;
  options.output = flags.output;
  options.image_size = flags.image_size;
  options.crop_size = flags.crop_size;
  options.standardize = flags.standardize;
  options.any_op = flags.allow_any_op;
  options.threads = flags.threads;
  if (!flags.config.empty()) options.config = ReadFile(flags.config);
  GuardAgainstLibrary();
  PrepareEnvironment(flags.threads);
  const TensorFlow tf = LoadTensorFlow(flags.library);
  Network network(tf, graph, options, flags.benchmark);
  if (flags.benchmark) return Time(flags, tf, graph, options, &network);
  if (!flags.batch_files.empty()) return EvaluateFile(flags, tf, graph, &network);
  return Classify(flags, tf, graph, &network);
}

}  // namespace
}  // namespace label_image

int main(int argc, char** argv) {
  int code;
  try {
    code = label_image::Run(argc, argv);
  } catch (const label_image::UsageError& error) {
    label_image::Complain(error.what());
    code = 2;
  } catch (const label_image::Failure& failure) {
    label_image::Complain(failure.what());
    code = 1;
  } catch (const std::bad_alloc&) {
    label_image::Complain("not enough memory");
    code = 1;
  }
  if (fflush(stdout) != 0 && code == 0) {
    label_image::Complain("cannot write to stdout");
    code = 1;
  }
  // Without running the destructors of the library's static objects, some of which wait for
  // threads.
  _exit(code);
}
