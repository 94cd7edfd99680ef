// ONNX Runtime's C API, loaded at run time from the libonnxruntime.so of the wheel or of the
// official archive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// A subset of onnxruntime_c_api.h. OrtApi is a table of functions in an order that never changes:
// new versions add to its end (static_asserts in onnxruntime_c_api.cc).
extern "C" {
struct OrtStatus;
struct OrtEnv;
struct OrtSession;
struct OrtSessionOptions;
struct OrtRunOptions;
struct OrtValue;
struct OrtTypeInfo;
struct OrtTensorTypeAndShapeInfo;
struct OrtAllocator;
struct OrtApiBase {
  void* const* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};
}

namespace label_image {

// X(index in OrtApi, name, result, parameters)
#define LABEL_IMAGE_ORT_FUNCTIONS(X)                                                           \
  X(2, GetErrorMessage, const char*, (const OrtStatus*))                                       \
  X(3, CreateEnv, OrtStatus*, (int log_level, const char* log_id, OrtEnv**))                   \
  X(7, CreateSession, OrtStatus*,                                                              \
    (const OrtEnv*, const char* path, const OrtSessionOptions*, OrtSession**))                 \
  X(8, CreateSessionFromArray, OrtStatus*,                                                     \
    (const OrtEnv*, const void*, size_t, const OrtSessionOptions*, OrtSession**))              \
  X(9, Run, OrtStatus*,                                                                        \
    (OrtSession*, const OrtRunOptions*, const char* const*, const OrtValue* const*, size_t,    \
     const char* const*, size_t, OrtValue**))                                                  \
  X(10, CreateSessionOptions, OrtStatus*, (OrtSessionOptions**))                               \
  X(24, SetIntraOpNumThreads, OrtStatus*, (OrtSessionOptions*, int))                           \
  X(25, SetInterOpNumThreads, OrtStatus*, (OrtSessionOptions*, int))                           \
  X(30, SessionGetInputCount, OrtStatus*, (const OrtSession*, size_t*))                        \
  X(31, SessionGetOutputCount, OrtStatus*, (const OrtSession*, size_t*))                       \
  X(33, SessionGetInputTypeInfo, OrtStatus*, (const OrtSession*, size_t, OrtTypeInfo**))       \
  X(36, SessionGetInputName, OrtStatus*, (const OrtSession*, size_t, OrtAllocator*, char**))   \
  X(37, SessionGetOutputName, OrtStatus*, (const OrtSession*, size_t, OrtAllocator*, char**))  \
  X(48, CreateTensorAsOrtValue, OrtStatus*,                                                    \
    (OrtAllocator*, const int64_t*, size_t, int type, OrtValue**))                             \
  X(51, GetTensorMutableData, OrtStatus*, (OrtValue*, void**))                                 \
  X(55, CastTypeInfoToTensorInfo, OrtStatus*,                                                  \
    (const OrtTypeInfo*, const OrtTensorTypeAndShapeInfo**))                                   \
  X(56, GetOnnxTypeFromTypeInfo, OrtStatus*, (const OrtTypeInfo*, int*))                       \
  X(60, GetTensorElementType, OrtStatus*, (const OrtTensorTypeAndShapeInfo*, int*))            \
  X(61, GetDimensionsCount, OrtStatus*, (const OrtTensorTypeAndShapeInfo*, size_t*))           \
  X(62, GetDimensions, OrtStatus*, (const OrtTensorTypeAndShapeInfo*, int64_t*, size_t))       \
  X(65, GetTensorTypeAndShape, OrtStatus*, (const OrtValue*, OrtTensorTypeAndShapeInfo**))     \
  X(76, AllocatorFree, OrtStatus*, (OrtAllocator*, void*))                                     \
  X(78, GetAllocatorWithDefaultOptions, OrtStatus*, (OrtAllocator**))                          \
  X(93, ReleaseStatus, void, (OrtStatus*))                                                     \
  X(95, ReleaseSession, void, (OrtSession*))                                                   \
  X(96, ReleaseValue, void, (OrtValue*))                                                       \
  X(98, ReleaseTypeInfo, void, (OrtTypeInfo*))                                                 \
  X(99, ReleaseTensorTypeAndShapeInfo, void, (OrtTensorTypeAndShapeInfo*))                     \
  X(100, ReleaseSessionOptions, void, (OrtSessionOptions*))

struct Ort {
#define LABEL_IMAGE_DECLARE(index, name, result, parameters) result(*name) parameters = nullptr;
  LABEL_IMAGE_ORT_FUNCTIONS(LABEL_IMAGE_DECLARE)
#undef LABEL_IMAGE_DECLARE

  std::string path, version;
  OrtEnv* env = nullptr;
  OrtAllocator* allocator = nullptr;

  // Throw Error if a call failed.
  void Check(OrtStatus* status, const char* failure) const;
};

// Load the library; see LoadLibrary. Throws Error.
Ort LoadOrt(const std::vector<std::string>& libraries);

}  // namespace label_image
