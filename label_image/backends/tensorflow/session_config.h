// How TensorFlow runs: environment variables and ConfigProto.
#pragma once

#include <string>

namespace label_image {

// Set the environment variables that libraries read when they are loaded: the log level, the
// OpenMP threads of Intel's build, and that TensorFlow uses oneDNN on a processor with AVX2.
// Variables that are already set, but for OMP_NUM_THREADS, keep their values.
void SetEnvironment(int threads);

// Return a serialized ConfigProto. `single_threaded_executor`: with one thread, use the executor
// that supports neither control flow nor tracing. It cuts the latency of squeeze1 at batch size 1
// by 3 to 7 % on all three engines. `bfloat16`: let oneDNN compute in bfloat16 where it can.
std::string SessionConfig(int threads, bool single_threaded_executor, bool bfloat16);

// Return intra_op_parallelism_threads of a serialized ConfigProto. If it leaves them to TensorFlow,
// whose choice ignores the CPU quota, state CountProcessors() in it. Throws Error if `config` is
// not a ConfigProto.
int StateThreads(std::string* config);

}  // namespace label_image
