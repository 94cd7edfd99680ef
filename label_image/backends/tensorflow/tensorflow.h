// TensorFlow's C API, loaded at run time: one binary works with the Python wheels of 1.15 and 2.x,
// which cannot be linked with, and with the official libtensorflow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.h"

// A subset of tensorflow/c/c_api.h, which is the same in 1.15 and 2.21. The 1.15 wheels do not
// contain that header.
extern "C" {
struct TF_Status;
struct TF_Graph;
struct TF_ImportGraphDefOptions;
struct TF_Operation;
struct TF_Session;
struct TF_SessionOptions;
struct TF_Tensor;
struct TF_Buffer {
  const void* data;
  size_t length;
  void (*data_deallocator)(void* data, size_t length);
};
struct TF_Input {
  TF_Operation* oper;
  int index;
};
struct TF_Output {
  TF_Operation* oper;
  int index;
};
}

namespace label_image {

// X(name without TF_, result, parameters)
#define LABEL_IMAGE_TF_FUNCTIONS(X)                                                            \
  X(Version, const char*, (void))                                                              \
  X(NewStatus, TF_Status*, (void))                                                             \
  X(DeleteStatus, void, (TF_Status*))                                                          \
  X(GetCode, int, (const TF_Status*))                                                          \
  X(Message, const char*, (const TF_Status*))                                                  \
  X(NewBuffer, TF_Buffer*, (void))                                                             \
  X(DeleteBuffer, void, (TF_Buffer*))                                                          \
  X(NewGraph, TF_Graph*, (void))                                                               \
  X(DeleteGraph, void, (TF_Graph*))                                                            \
  X(NewImportGraphDefOptions, TF_ImportGraphDefOptions*, (void))                               \
  X(DeleteImportGraphDefOptions, void, (TF_ImportGraphDefOptions*))                            \
  X(GraphImportGraphDef, void,                                                                 \
    (TF_Graph*, const TF_Buffer*, const TF_ImportGraphDefOptions*, TF_Status*))                \
  X(GraphOperationByName, TF_Operation*, (TF_Graph*, const char*))                             \
  X(GraphNextOperation, TF_Operation*, (TF_Graph*, size_t*))                                   \
  X(OperationName, const char*, (TF_Operation*))                                               \
  X(OperationOpType, const char*, (TF_Operation*))                                             \
  X(OperationNumInputs, int, (TF_Operation*))                                                  \
  X(OperationInput, TF_Output, (TF_Input))                                                     \
  X(OperationNumOutputs, int, (TF_Operation*))                                                 \
  X(OperationOutputType, int, (TF_Output))                                                     \
  X(OperationGetAttrBool, void, (TF_Operation*, const char*, unsigned char*, TF_Status*))      \
  X(OperationGetAttrIntList, void, (TF_Operation*, const char*, int64_t*, int, TF_Status*))    \
  X(GraphGetTensorNumDims, int, (TF_Graph*, TF_Output, TF_Status*))                            \
  X(GraphGetTensorShape, void, (TF_Graph*, TF_Output, int64_t*, int, TF_Status*))              \
  X(NewSessionOptions, TF_SessionOptions*, (void))                                             \
  X(DeleteSessionOptions, void, (TF_SessionOptions*))                                          \
  X(SetConfig, void, (TF_SessionOptions*, const void*, size_t, TF_Status*))                    \
  X(NewSession, TF_Session*, (TF_Graph*, const TF_SessionOptions*, TF_Status*))                \
  X(DeleteSession, void, (TF_Session*, TF_Status*))                                            \
  X(SessionRun, void,                                                                          \
    (TF_Session*, const TF_Buffer*, const TF_Output*, TF_Tensor* const*, int,                  \
     const TF_Output*, TF_Tensor**, int, const TF_Operation* const*, int, TF_Buffer*,          \
     TF_Status*))                                                                              \
  X(AllocateTensor, TF_Tensor*, (int, const int64_t*, int, size_t))                            \
  X(DeleteTensor, void, (TF_Tensor*))                                                          \
  X(TensorType, int, (const TF_Tensor*))                                                       \
  X(NumDims, int, (const TF_Tensor*))                                                          \
  X(Dim, int64_t, (const TF_Tensor*, int))                                                     \
  X(TensorData, void*, (const TF_Tensor*))

// A loaded library. It is never unloaded.
struct TensorFlow {
#define LABEL_IMAGE_DECLARE(name, result, parameters) result(*name) parameters = nullptr;
  LABEL_IMAGE_TF_FUNCTIONS(LABEL_IMAGE_DECLARE)
#undef LABEL_IMAGE_DECLARE

  std::string path, version;
};

// Load the library at the first of `paths` that has one: see LoadLibrary. {}: the system's
// libtensorflow. Call SetEnvironment first. Throws Error if there is no library or it is not
// TensorFlow.
TensorFlow LoadTensorFlow(const std::vector<std::string>& paths);

// An object of the C API, and the function that deletes it.
template <typename T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

// Return the graph of a serialized GraphDef. Throws Error if TensorFlow rejects it.
Owned<TF_Graph> ImportGraph(const TensorFlow& tf, std::string_view graph);

// Return the shape that TensorFlow infers for an output, or nothing if the rank is unknown.
std::optional<Shape> InferredShape(const TensorFlow& tf, TF_Graph* graph, TF_Output output);

// A graph with one input and one output, ready to run.
class TensorFlowSession : public Session {
 public:
  // Import the GraphDef `graph`, whose node `input` is fed tensors of `type`. `config` is a
  // serialized ConfigProto. Throws Error.
  TensorFlowSession(const TensorFlow& tf, std::string_view graph, const std::string& input,
                    int type, const std::string& output, std::string_view config);
  ~TensorFlowSession() override;
  TensorFlowSession(const TensorFlowSession&) = delete;

  // Return the shape that TensorFlow infers for the first output of a node, or {} if it cannot.
  Shape InferredShape(const std::string& node) const;

  Tensor NewInput(const Shape& shape) override;
  Tensor Run(const Tensor& input, std::string* trace) override;

 private:
  TF_Output Output(const std::string& node) const;
  Tensor Wrap(TF_Tensor* tensor) const;

  const TensorFlow& tf_;
  const int type_;
  Owned<TF_Status> status_;
  Owned<TF_Graph> graph_;
  TF_Session* session_ = nullptr;
  TF_Output input_, output_;
};

}  // namespace label_image
