#include "backends/onnxruntime/api.h"

#include "backends/library.h"
#include "error.h"

namespace label_image {
namespace {

constexpr uint32_t kApiVersion = 11;  // of ONNX Runtime 1.11 and later
constexpr int kLogErrors = 3;         // an OrtLoggingLevel

const LibraryNames kNames = {"ONNX Runtime",
                             {"onnxruntime"},
                             {"capi/libonnxruntime.so*", "libonnxruntime.so*"},
                             {"libonnxruntime.so", "libonnxruntime.so.1"}};

}  // namespace

void Ort::Check(OrtStatus* status, const char* failure) const {
  if (!status) return;
  const std::string message = OneLine(GetErrorMessage(status));
  ReleaseStatus(status);
  throw Error("ONNX Runtime ", version, " ", failure, ": ", message);
}

Ort LoadOrt(const std::vector<std::string>& libraries) {
  Ort ort;
  const Library library = LoadLibrary(kNames, libraries);
  ort.path = library.path;
  const OrtApiBase* (*get_base)() = nullptr;
  library.Find("OrtGetApiBase", &get_base);
  const OrtApiBase* base = get_base();
  ort.version = base->GetVersionString();
  void* const* api = base->GetApi(kApiVersion);
  if (!api) throw Error("ONNX Runtime ", ort.version, " is too old: version 1.11 is needed");
#define LABEL_IMAGE_FIND(index, name, result, parameters) \
  ort.name = reinterpret_cast<result(*) parameters>(api[index]);
  LABEL_IMAGE_ORT_FUNCTIONS(LABEL_IMAGE_FIND)
#undef LABEL_IMAGE_FIND
  ort.Check(ort.CreateEnv(kLogErrors, "label_image", &ort.env), "cannot start");
  ort.Check(ort.GetAllocatorWithDefaultOptions(&ort.allocator), "has no allocator");
  return ort;
}

}  // namespace label_image
