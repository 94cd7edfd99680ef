#include "backends/load.h"

#include <algorithm>

#include "backends/litert/model.h"
#include "backends/onnxruntime/model.h"
#include "backends/openvino/model.h"
#include "backends/tensorflow/model.h"
#include "error.h"
#include "feed.h"
#include "file.h"
#include "file_kind.h"
#include "graph/tflite_file.h"
#include "process/crash_handler.h"

namespace label_image {
namespace {

struct Runtime {
  const char *flag, *name, *suffix;
  Backend (*load)(const std::vector<std::string>& libraries);
};

constexpr Runtime kRuntimes[] = {
    {"tensorflow", "TensorFlow", ".pb", LoadTensorFlowBackend},
    {"litert", "LiteRT", ".tflite", LoadLiteRtBackend},
    {"onnxruntime", "ONNX Runtime", ".onnx", LoadOnnxRuntime},
    {"openvino", "OpenVINO", ".xml", LoadOpenVinoBackend},
};

const Runtime& Find(const std::string& flag) {
  std::string flags;
  for (const Runtime& runtime : kRuntimes) {
    if (flag == runtime.flag) return runtime;
    flags += (flags.empty() ? "" : ", ") + std::string(runtime.flag);
  }
  throw UsageError("--runtime must be one of ", flags, ", not ", Quote(flag));
}

}  // namespace

std::string ChooseRuntime(const std::string& path, const std::string& runtime) {
  if (!runtime.empty()) return Find(runtime).flag;
  for (const Runtime& other : kRuntimes) {
    if (EndsWith(path, other.suffix)) return other.flag;
  }
  return kRuntimes[0].flag;
}

bool IsRuntime(const std::string& name) {
  return std::any_of(std::begin(kRuntimes), std::end(kRuntimes), [&name](const Runtime& runtime) {
    return name == runtime.flag;
  });
}

ModelFile ReadModelFile(const std::string& path, const std::string& runtime,
                        const std::vector<std::string>& feeds, const std::string& name) {
  ModelFile file = {path, name.empty() ? path : name, "", nullptr};
  const std::string own = ChooseRuntime(path, "");  // that of the suffix
  if (runtime == "tensorflow" || (runtime == "openvino" && own == "tensorflow")) {
    file.graph =
        std::make_shared<const Graph>(Feed(ReadGraphFile(path), file.name, feeds), file.name);
    return file;
  }
  if (!feeds.empty()) throw UsageError("--feed works only with TensorFlow graphs");
  file.bytes = ReadFile(path);
  // The other runtimes say little of a file that is not theirs.
  const std::string kind = FileKind(file.bytes);
  if (runtime == "litert" && !IsTflite(file.bytes)) {
    throw Error(file.name, " is not a TensorFlow Lite model",
                kind.empty() ? ": its bytes 5 to 8 are not TFL3" : ": it " + kind);
  }
  if (runtime == "onnxruntime" && !kind.empty() && file.bytes[0] != 0x08) {
    throw Error(file.name, " is not an ONNX model: it ", kind);
  }
  return file;
}

Backend LoadBackend(const std::string& runtime, const std::vector<std::string>& libraries) {
  const Runtime& found = Find(runtime);
  crash_runtime = found.name;
  return found.load(libraries);
}

}  // namespace label_image
