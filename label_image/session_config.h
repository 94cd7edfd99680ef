// How TensorFlow runs: threads, environment, ConfigProto.

#ifndef LABEL_IMAGE_SESSION_CONFIG_H_
#define LABEL_IMAGE_SESSION_CONFIG_H_

#include <string>

namespace label_image {

// Number of processors that this process may use.
int Processors();

// Sets what libraries read from the environment as they are loaded: how much they log, and the
// threads of OpenMP, which Intel's build follows. What the user has set is kept.
void PrepareEnvironment(int threads);

// A serialized ConfigProto for `threads` threads.
// `simple`: whether the executor for one thread may be used, which knows neither control flow nor
// traces, and takes 3 to 7 % less time for squeeze1 at batch 1 on all three engines.
std::string SessionConfig(int threads, bool simple);

// A serialized RunOptions that asks for the times of all operations.
std::string TraceOptions();

}  // namespace label_image

#endif  // LABEL_IMAGE_SESSION_CONFIG_H_
