#include "comparison/timed_model.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "backends/load.h"
#include "error.h"
#include "images/batch.h"
#include "inference/benchmark.h"
#include "inference/evaluate.h"
#include "open.h"

namespace label_image {
namespace {

constexpr int64_t kEvaluationBatch = 100;
constexpr char kTakeTurn = 't', kEvaluate = 'e';  // requests

// Split "RUNTIME/PRECISION=FILE". A file may have an = in its name.
Flags ParseModel(const Flags& flags, const std::string& text) {
  Flags result = flags;
  result.graph = text;
  // --graph_name is that of --graph alone.
  const bool named = text == flags.graph && !flags.graph_name.empty();
  if (!named) result.graph_name = text;
  const size_t equals = text.find('='), slash = text.find('/');
  if (equals == text.npos) return result;
  const std::string runtime = text.substr(0, std::min(equals, slash));
  if (!IsRuntime(runtime)) return result;
  result.runtime = runtime;
  if (slash < equals) result.model.precision = text.substr(slash + 1, equals - slash - 1);
  const std::string& precision = result.model.precision;
  if (precision != "float32" && precision != "bfloat16") {
    throw UsageError(text, ": the precision must be float32 or bfloat16");
  }
  result.graph = text.substr(equals + 1);
  if (result.graph.empty()) throw UsageError(text, " names no file");
  if (!named) result.graph_name = result.graph;
  return result;
}

// Transfer exactly `size` bytes; false: the other side is gone.
bool ReadAll(int descriptor, void* data, size_t size) {
  for (auto* bytes = static_cast<char*>(data); size > 0;) {
    const ssize_t count = read(descriptor, bytes, size);
    if (count <= 0) return false;
    bytes += count;
    size -= count;
  }
  return true;
}

bool WriteAll(int descriptor, const void* data, size_t size) {
  for (const auto* bytes = static_cast<const char*>(data); size > 0;) {
    const ssize_t count = write(descriptor, bytes, size);
    if (count <= 0) return false;
    bytes += count;
    size -= count;
  }
  return true;
}

Accuracy MeasureAccuracy(const Flags& flags, Network* network) {
  const Batch batch =
      ReadBatches(flags.batch_files, network->image_size(), flags.limit, flags.label_bytes);
  const Metrics metrics = Evaluate(network, batch, network->BatchSize(kEvaluationBatch), false);
  return {metrics.images, metrics.correct};
}

int Serve(const Flags& flags, const Backend& backend, Network* network, int requests, int answers) {
  Ready ready;
  snprintf(ready.runtime, sizeof(ready.runtime), "%s",
           RuntimeText(backend, flags.model).c_str());
  const Tensor input = RandomInput(*network, flags.batch_size);
  TimeRuns(network, input, flags.warmup);
  if (!WriteAll(answers, &ready, sizeof(ready))) return 1;
  for (char request; ReadAll(requests, &request, 1);) {
    if (request == kEvaluate) {
      const Accuracy accuracy = MeasureAccuracy(flags, network);
      return WriteAll(answers, &accuracy, sizeof(accuracy)) ? 0 : 1;
    }
    const std::vector<double> times = TimeRuns(network, input, flags.runs);
    const double peak_mb = PeakMemory();
    if (!WriteAll(answers, &peak_mb, sizeof(peak_mb)) ||
        !WriteAll(answers, times.data(), times.size() * sizeof(double))) {
      return 1;
    }
  }
  return 0;
}

// Return the exit code of the child for a model.
int RunChild(const Flags& flags, int requests, int answers) {
  const Command serve = [&](const Flags& own, const Backend& backend, Network* network) {
    return Serve(own, backend, network, requests, answers);
  };
  const auto run = [&] {
    return NamingFile(flags.graph_name, [&] { return RunWithModel(flags, serve); });
  };
  return ExitCode(run, flags.graph_name);
}

}  // namespace

TimedModel::TimedModel(const Flags& flags, const std::string& text)
    : flags_(ParseModel(flags, text)) {}

bool TimedModel::Start(const std::vector<TimedModel>& others) {
  int requests[2], answers[2];
  if (pipe2(requests, O_CLOEXEC) != 0 || pipe2(answers, O_CLOEXEC) != 0) {
    throw Error("cannot make a pipe: ", strerror(errno));
  }
  fflush(stdout);
  pid_ = fork();
  if (pid_ < 0) throw Error("cannot start a process: ", strerror(errno));
  if (pid_ == 0) {
    close(requests[1]);
    close(answers[0]);
    for (const TimedModel& other : others) {  // those processes wait for the ends of their pipes
      if (other.requests_ < 0) continue;
      close(other.requests_);
      close(other.answers_);
    }
    _exit(RunChild(flags_, requests[0], answers[1]));
  }
  close(requests[0]);
  close(answers[1]);
  requests_ = requests[1];
  answers_ = answers[0];
  return ReadAll(answers_, &ready_, sizeof(ready_));
}

bool TimedModel::TakeTurn() {
  std::vector<double> times(flags_.runs);
  if (!WriteAll(requests_, &kTakeTurn, 1) || !ReadAll(answers_, &peak_mb_, sizeof(peak_mb_)) ||
      !ReadAll(answers_, times.data(), times.size() * sizeof(double))) {
    return false;
  }
  times_.insert(times_.end(), times.begin(), times.end());
  return true;
}

bool TimedModel::Evaluate() {
  return WriteAll(requests_, &kEvaluate, 1) && ReadAll(answers_, &accuracy_, sizeof(accuracy_));
}

int TimedModel::Stop() {
  if (pid_ <= 0) return 0;
  close(requests_);  // it ends
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = 0;
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  PrintError(Concat(Printable(name()), ": its process was killed by signal ", WTERMSIG(status)));
  return 1;
}

}  // namespace label_image
