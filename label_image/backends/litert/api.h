// LiteRT's C API, loaded at run time: the wheel of ai-edge-litert contains libLiteRt.so, but no
// headers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// A subset of litert/c/ of version 2.3.
extern "C" {
struct LiteRtEnvironmentT;
struct LiteRtModelT;
struct LiteRtOptionsT;
struct LiteRtOpaqueOptionsT;
struct LiteRtCompiledModelT;
struct LiteRtSignatureT;
struct LiteRtTensorT;
struct LiteRtOpT;
struct LiteRtTensorBufferT;
struct LiteRtLayout {
  unsigned int rank : 7;
  bool has_strides : 1;
  int32_t dimensions[8];
  uint32_t strides[8];
};
struct LiteRtRankedTensorType {
  int element_type;
  LiteRtLayout layout;
};
struct LiteRtDefiningOp {
  LiteRtOpT* op;
  size_t index;  // of the output
};
}

namespace label_image {

static_assert(sizeof(LiteRtRankedTensorType) == 72, "as LiteRtGetRankedTensorType copies it");

// X(name without LiteRt, parameters); all but the Destroy functions return a status, 0: success
#define LABEL_IMAGE_LITERT_FUNCTIONS(X)                                                        \
  X(CreateEnvironment, (int, const void* options, LiteRtEnvironmentT**))                       \
  X(CreateModelFromBuffer, (LiteRtEnvironmentT*, const void*, size_t, LiteRtModelT**))         \
  X(GetNumModelSignatures, (LiteRtModelT*, size_t*))                                           \
  X(GetModelSignature, (LiteRtModelT*, size_t, LiteRtSignatureT**))                            \
  X(GetNumSignatureInputs, (LiteRtSignatureT*, size_t*))                                       \
  X(GetNumSignatureOutputs, (LiteRtSignatureT*, size_t*))                                      \
  X(GetSignatureInputName, (LiteRtSignatureT*, size_t, const char**))                          \
  X(GetSignatureOutputName, (LiteRtSignatureT*, size_t, const char**))                         \
  X(GetSignatureInputTensorByIndex, (LiteRtSignatureT*, size_t, LiteRtTensorT**))              \
  X(GetSignatureOutputTensorByIndex, (LiteRtSignatureT*, size_t, LiteRtTensorT**))             \
  X(GetRankedTensorType, (LiteRtTensorT*, LiteRtRankedTensorType*))                            \
  X(GetTensorDefiningOp, (LiteRtTensorT*, bool*, LiteRtDefiningOp*))                           \
  X(GetOpCode, (LiteRtOpT*, int*))                                                             \
  X(GetOpInput, (LiteRtOpT*, size_t, LiteRtTensorT**))                                         \
  X(CreateOptions, (LiteRtOptionsT**))                                                         \
  X(SetOptionsHardwareAccelerators, (LiteRtOptionsT*, int))                                    \
  X(CreateOpaqueOptions, (const char*, void*, void (*)(void*), LiteRtOpaqueOptionsT**))        \
  X(AddOpaqueOptions, (LiteRtOptionsT*, LiteRtOpaqueOptionsT*))                                \
  X(CreateCompiledModel,                                                                       \
    (LiteRtEnvironmentT*, LiteRtModelT*, LiteRtOptionsT*, LiteRtCompiledModelT**))             \
  X(CompiledModelResizeInputTensorNonStrict,                                                   \
    (LiteRtCompiledModelT*, size_t signature, size_t input, const int*, size_t))               \
  X(GetCompiledModelOutputTensorLayouts,                                                       \
    (LiteRtCompiledModelT*, size_t signature, size_t, LiteRtLayout*, bool allocate))           \
  X(CreateTensorBufferFromHostMemory,                                                          \
    (const LiteRtRankedTensorType*, void*, size_t, void (*)(void*), LiteRtTensorBufferT**))    \
  X(RunCompiledModel,                                                                          \
    (LiteRtCompiledModelT*, size_t signature, size_t, LiteRtTensorBufferT**, size_t,           \
     LiteRtTensorBufferT**))                                                                   \
  X(DestroyTensorBuffer, (LiteRtTensorBufferT*))

struct LiteRt {
#define LABEL_IMAGE_DECLARE(name, parameters) int(*name) parameters = nullptr;
  LABEL_IMAGE_LITERT_FUNCTIONS(LABEL_IMAGE_DECLARE)
#undef LABEL_IMAGE_DECLARE

  std::string path, version;
  LiteRtEnvironmentT* environment = nullptr;

  // Throw Error if a call failed.
  void Check(int status, const char* failure) const;
};

// Load the library; see LoadLibrary. Throws Error.
LiteRt LoadLiteRt(const std::vector<std::string>& libraries);

}  // namespace label_image
