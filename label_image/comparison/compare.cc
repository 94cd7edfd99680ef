#include "comparison/compare.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "comparison/timed_model.h"
#include "error.h"
#include "file.h"
#include "inference/benchmark.h"
#include "json.h"

namespace label_image {
namespace {

constexpr useconds_t kPause = 20000;  // us: threads of the last model may still wait actively

// Return the bytes of the file of a model, and of the file with its weights if OpenVINO has two.
int64_t FileSize(const std::string& path) {
  struct stat status;
  const int64_t size = stat(path.c_str(), &status) == 0 ? status.st_size : 0;
  return EndsWith(path, ".xml") ? size + FileSize(path.substr(0, path.size() - 3) + "bin") : size;
}

void PrintTable(const Flags& flags, const std::vector<TimedModel>& models) {
  printf("batch size %d, %d thread%s, %d x %d runs in turn after %d for warm-up\n",
         flags.batch_size, flags.model.threads, flags.model.threads == 1 ? "" : "s", flags.repeats,
         flags.runs, flags.warmup);
  size_t width = 4, runtime_width = 7;
  for (const TimedModel& model : models) {
    width = std::max(width, CountCharacters(Printable(model.name())));
    runtime_width = std::max(runtime_width, strlen(model.ready().runtime));
  }
  printf("%-*s  %-*s  %9s  %9s  %8s  %7s  %7s", static_cast<int>(width), "file",
         static_cast<int>(runtime_width), "runtime", "median ms", "images/s", "vs first", "peak MB",
         "kB");
  printf(flags.batch_files.empty() ? "\n" : "  correct\n");
  const double first = Summarize(models[0].times()).median;
  for (const TimedModel& model : models) {
    const double median = Summarize(model.times()).median;
    printf("%s  %-*s  %9.4f  %9.0f  %8.3f  %7.0f  %7.0f",
           Padded(Printable(model.name()), width).c_str(), static_cast<int>(runtime_width),
           model.ready().runtime, median, 1000 * flags.batch_size / median, median / first,
           model.peak_mb(), FileSize(model.path()) / 1000.);
    if (model.accuracy().images) {
      printf("  %lld of %lld", static_cast<long long>(model.accuracy().correct),
             static_cast<long long>(model.accuracy().images));
    }
    printf("\n");
  }
}

void PrintJson(const Flags& flags, const std::vector<TimedModel>& models) {
  std::vector<json::Object> objects;
  for (const TimedModel& model : models) {
    const Latency latency = Summarize(model.times());
    json::Object object = {{"graph", model.name()},
                          {"runtime", model.ready().runtime},
                          {"bytes", FileSize(model.path())},
                          {"latency_ms", LatencyJson(latency)},
                          {"images_per_second", 1000 * flags.batch_size / latency.median},
                          {"peak_rss_mb", model.peak_mb()}};
    if (model.accuracy().images) {
      object.push_back({"images", model.accuracy().images});
      object.push_back({"correct", model.accuracy().correct});
    }
    objects.push_back(object);
  }
  printf("%s\n", json::Value(json::Object{{"batch_size", flags.batch_size},
                                          {"threads", flags.model.threads},
                                          {"warmup", flags.warmup},
                                          {"runs", flags.runs},
                                          {"repeats", flags.repeats},
                                          {"models", objects}}).text.c_str());
}

// Return the first exit code that is not 0, of the model that failed.
int TimeInTurn(const Flags& flags, std::vector<TimedModel>* models) {
  for (TimedModel& model : *models) {  // one by one: loading takes all processors
    if (!model.Start(*models)) return std::max(model.Stop(), 1);
  }
  for (int repeat = 0; repeat < flags.repeats; ++repeat) {
    for (TimedModel& model : *models) {
      usleep(kPause);
      if (!model.TakeTurn()) return std::max(model.Stop(), 1);
    }
  }
  return 0;
}

// Return the first exit code that is not 0.
int EvaluateInTurn(std::vector<TimedModel>* models) {
  int code = 0;
  for (TimedModel& model : *models) {
    if (!model.Evaluate() && code == 0) code = std::max(model.Stop(), 1);
  }
  return code;
}

}  // namespace

int CompareModels(const Flags& flags) {
  signal(SIGPIPE, SIG_IGN);  // a process that fails says so itself
  for (const std::string& path : flags.batch_files) {  // they are read after the slow part
    struct stat status;
    if (access(path.c_str(), R_OK) != 0 || stat(path.c_str(), &status) != 0) {
      throw Error(path, ": ", strerror(errno));
    }
    if (S_ISDIR(status.st_mode)) throw Error(path, ": ", strerror(EISDIR));
    if (flags.compared.size() > 1 && !S_ISREG(status.st_mode)) {
      throw Error(path, ": is a pipe or device, but each model must read it: save it to a file "
                  "first");
    }
  }
  std::vector<TimedModel> models;
  for (const std::string& text : flags.compared) models.emplace_back(flags, text);
  int code = TimeInTurn(flags, &models);
  const bool all_timed = code == 0;
  if (all_timed && !flags.batch_files.empty()) code = EvaluateInTurn(&models);
  for (TimedModel& model : models) {
    const int stopped = model.Stop();
    if (code == 0) code = stopped;
  }
  if (!all_timed) return code;
  flags.json ? PrintJson(flags, models) : PrintTable(flags, models);
  return code;  // without an accuracy, the latencies are still printed
}

}  // namespace label_image
