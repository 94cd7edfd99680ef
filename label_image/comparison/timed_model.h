// A model that is timed in a process of its own, turn by turn.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "flags.h"

namespace label_image {

// The first message of the process.
struct Ready {
  char runtime[100] = "";
};

// Its result on the batch files.
struct Accuracy {
  int64_t images = 0, correct = 0;
};

class TimedModel {
 public:
  // `text` is FILE, RUNTIME=FILE or RUNTIME/PRECISION=FILE. Throws UsageError.
  TimedModel(const Flags& flags, const std::string& text);

  // Start the process, and wait until it has loaded and warmed up the model. `others` are models
  // that run already. Return false if it fails, which it reports itself. Throws Error if there can
  // be no process.
  bool Start(const std::vector<TimedModel>& others);

  // Let it run flags.runs times. Return false if it fails.
  bool TakeTurn();

  // Let it measure its accuracy on flags.batch_files, after all turns: the larger batches would
  // count in peak_mb. Return false if it fails.
  bool Evaluate();

  // End the process. Return its exit code; if a signal has ended it, print that and return 1.
  int Stop();

  const std::string& path() const { return flags_.graph; }
  const std::string& name() const { return flags_.graph_name; }  // for people
  const Ready& ready() const { return ready_; }
  const Accuracy& accuracy() const { return accuracy_; }
  double peak_mb() const { return peak_mb_; }                   // memory of the process
  const std::vector<double>& times() const { return times_; }  // of all turns, in ms

 private:
  Flags flags_;
  pid_t pid_ = 0;
  int requests_ = -1, answers_ = -1;  // ends of pipes
  Ready ready_;
  Accuracy accuracy_;
  double peak_mb_ = 0;
  std::vector<double> times_;
};

}  // namespace label_image
