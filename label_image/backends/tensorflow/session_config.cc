#include "backends/tensorflow/session_config.h"

#include <stdlib.h>

#include "backends/processor.h"
#include "error.h"
#include "graph/wire.h"

namespace label_image {
namespace {

// Field numbers in TensorFlow's config.proto.
enum ConfigField { kIntraOp = 2, kInterOp = 5, kAllowSoftPlacement = 7, kGraphOptions = 10,
                   kExperimental = 16 };
enum GraphOptionsField { kRewriteOptions = 10 };
enum RewriterField { kAutoMixedPrecisionBfloat16 = 31, kOn = 1 };
enum ExperimentalField { kExecutorType = 3 };

}  // namespace

void SetEnvironment(int threads) {
  setenv("TF_CPP_MIN_LOG_LEVEL", "3", 0);
  setenv("OMP_NUM_THREADS", std::to_string(threads).c_str(), 1);  // as the output states
  setenv("KMP_BLOCKTIME", "1", 0);
  setenv("KMP_SETTINGS", "0", 0);
#ifdef __x86_64__
  // By default TensorFlow 2.21 uses oneDNN only on newer processors, e.g. those with AVX512_VNNI.
  if (__builtin_cpu_supports("avx2")) setenv("TF_ENABLE_ONEDNN_OPTS", "1", 0);
#endif
}

std::string SessionConfig(int threads, bool single_threaded_executor, bool bfloat16) {
  wire::Writer config, experimental;
  config.Varint(kIntraOp, threads).Varint(kAllowSoftPlacement, 1);
  if (bfloat16) {
    const std::string on = wire::Writer().Varint(kAutoMixedPrecisionBfloat16, kOn).str();
    config.Bytes(kGraphOptions, wire::Writer().Bytes(kRewriteOptions, on).str());
  }
  if (threads > 1 || !single_threaded_executor) return config.Varint(kInterOp, 1).str();
  // -1: run all operations in the calling thread, so that no other thread has to wake up.
  config.Varint(kInterOp, static_cast<uint64_t>(int64_t{-1}));
  experimental.Bytes(kExecutorType, "SINGLE_THREADED_EXECUTOR");
  return config.Bytes(kExperimental, experimental.str()).str();
}

int StateThreads(std::string* config) {
  int threads = 0;
  try {
    threads = static_cast<int32_t>(wire::LastVarint(*config, kIntraOp));
  } catch (const Error&) {
    throw Error("not a session configuration: a serialized ConfigProto is needed");
  }
  if (threads > 0) return threads;
  threads = CountProcessors();
  *config += wire::Writer().Varint(kIntraOp, threads).str();  // the last of two values counts
  return threads;
}

}  // namespace label_image
