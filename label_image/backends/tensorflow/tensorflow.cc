#include "backends/tensorflow/tensorflow.h"

#include <dlfcn.h>

#include "backends/library.h"
#include "error.h"
#include "graph/wire.h"
#include "process/crash_handler.h"
#include "process/memory_limit.h"

namespace label_image {
namespace {

constexpr int kResourceExhausted = 8;  // a TF_Code

// Field numbers in TensorFlow's config.proto, and a value.
enum RunOptionsField { kTraceLevel = 1, kFullTrace = 3 };

// The C API is in libtensorflow_cc in 2.x wheels, and in the module that Python imports in 1.15
// wheels.
const LibraryNames kNames = {
    "TensorFlow",
    {"tensorflow", "tensorflow_core"},
    {"libtensorflow_cc.so.2", "libtensorflow.so", "libtensorflow.so.2", "libtensorflow.so.1",
     "python/_pywrap_tensorflow_internal.so"},
    {"libtensorflow.so", "libtensorflow.so.2", "libtensorflow.so.1"}};

size_t ElementSize(int type) {
  switch (type) {
    case kUint8: case kBool: return 1;
    case kHalf: return 2;
    case kDouble: case kInt64: return 8;
    default: return 4;
  }
}

// Throw Error if the last call failed.
void CheckStatus(const TensorFlow& tf, const TF_Status* status, const char* failure) {
  const int code = tf.GetCode(status);
  if (code == 0) return;
  throw Error("TensorFlow ", tf.version, " ", failure, ": ", OneLine(tf.Message(status)),
              code == kResourceExhausted ? " " : "",
              code == kResourceExhausted ? MemoryLimitHint() : "");
}

}  // namespace

TensorFlow LoadTensorFlow(const std::vector<std::string>& paths) {
  TensorFlow tf;
  // The library of the 1.15 wheels needs symbols of Python, which the Makefile provides.
  const Library library = LoadLibrary(kNames, paths);
  tf.path = library.path;
#define LABEL_IMAGE_FIND(name, result, parameters) library.Find("TF_" #name, &tf.name);
  LABEL_IMAGE_TF_FUNCTIONS(LABEL_IMAGE_FIND)
#undef LABEL_IMAGE_FIND
  tf.version = tf.Version();
  return tf;
}

Owned<TF_Graph> ImportGraph(const TensorFlow& tf, std::string_view graph) {
  crash_phase = "while loading the graph";
  const Owned<TF_Status> status(tf.NewStatus(), tf.DeleteStatus);
  Owned<TF_Graph> imported(tf.NewGraph(), tf.DeleteGraph);
  const TF_Buffer buffer = {graph.data(), graph.size(), nullptr};
  const Owned<TF_ImportGraphDefOptions> options(tf.NewImportGraphDefOptions(),
                                                tf.DeleteImportGraphDefOptions);
  tf.GraphImportGraphDef(imported.get(), &buffer, options.get(), status.get());
  CheckStatus(tf, status.get(), "rejects the graph");
  return imported;
}

std::optional<Shape> InferredShape(const TensorFlow& tf, TF_Graph* graph, TF_Output output) {
  // A new status each time: GraphGetTensorNumDims leaves an earlier error in it.
  const Owned<TF_Status> status(tf.NewStatus(), tf.DeleteStatus);
  const int rank = tf.GraphGetTensorNumDims(graph, output, status.get());
  if (rank < 0 || tf.GetCode(status.get()) != 0) return std::nullopt;
  Shape shape(rank);
  tf.GraphGetTensorShape(graph, output, shape.data(), rank, status.get());
  return tf.GetCode(status.get()) == 0 ? std::optional(shape) : std::nullopt;
}

TensorFlowSession::TensorFlowSession(const TensorFlow& tf, std::string_view graph,
                                     const std::string& input, int type, const std::string& output,
                                     std::string_view config)
    : tf_(tf), type_(type), status_(tf.NewStatus(), tf.DeleteStatus),
      graph_(ImportGraph(tf, graph)) {
  input_ = Output(input);
  output_ = Output(output);
  const Owned<TF_SessionOptions> options(tf.NewSessionOptions(), tf.DeleteSessionOptions);
  tf.SetConfig(options.get(), config.data(), config.size(), status_.get());
  CheckStatus(tf_, status_.get(), "rejects the session configuration");
  session_ = tf.NewSession(graph_.get(), options.get(), status_.get());
  CheckStatus(tf_, status_.get(), "cannot create a session");
}

TensorFlowSession::~TensorFlowSession() {
  if (session_) tf_.DeleteSession(session_, status_.get());
}

TF_Output TensorFlowSession::Output(const std::string& node) const {
  TF_Operation* operation = tf_.GraphOperationByName(graph_.get(), node.c_str());
  if (!operation || tf_.OperationNumOutputs(operation) < 1) {
    throw Error("node ", Quote(node), " has no output");
  }
  return {operation, 0};
}

Shape TensorFlowSession::InferredShape(const std::string& node) const {
  return label_image::InferredShape(tf_, graph_.get(), Output(node)).value_or(Shape());
}

Tensor TensorFlowSession::Wrap(TF_Tensor* tensor) const {
  Shape shape(tf_.NumDims(tensor));
  for (size_t i = 0; i < shape.size(); ++i) shape[i] = tf_.Dim(tensor, static_cast<int>(i));
  return {tf_.TensorType(tensor), shape, tf_.TensorData(tensor), {tensor, tf_.DeleteTensor}};
}

Tensor TensorFlowSession::NewInput(const Shape& shape) {
  size_t size = ElementSize(type_);
  for (int64_t dimension : shape) size *= static_cast<size_t>(dimension);
  TF_Tensor* tensor =
      tf_.AllocateTensor(type_, shape.data(), static_cast<int>(shape.size()), size);
  if (!tensor || !tf_.TensorData(tensor)) {
    throw Error("no memory for a tensor of ", size, " bytes: use a smaller --batch_size");
  }
  return Wrap(tensor);
}

Tensor TensorFlowSession::Run(const Tensor& input, std::string* trace) {
  const std::string options = trace ? wire::Writer().Varint(kTraceLevel, kFullTrace).str() : "";
  const TF_Buffer run_options = {options.data(), options.size(), nullptr};
  const Owned<TF_Buffer> metadata(trace ? tf_.NewBuffer() : nullptr, tf_.DeleteBuffer);
  TF_Tensor* const fed = static_cast<TF_Tensor*>(input.owner.get());
  TF_Tensor* fetched = nullptr;
  crash_phase = "while running the graph";
  tf_.SessionRun(session_, trace ? &run_options : nullptr, &input_, &fed, 1, &output_, &fetched, 1,
                 nullptr, 0, metadata.get(), status_.get());
  CheckStatus(tf_, status_.get(), "cannot run the graph");
  if (trace) trace->assign(static_cast<const char*>(metadata->data), metadata->length);
  return Wrap(fetched);
}

}  // namespace label_image
