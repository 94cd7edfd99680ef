#include "runtime/tensorflow.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "error.h"
#include "runtime/crash_handler.h"
#include "runtime/memory_limit.h"

namespace label_image {
namespace {

namespace fs = std::filesystem;

constexpr int kResourceExhausted = 8;  // a TF_Code

// Return the first library below a directory, or "" if there is none. The C API is in
// libtensorflow_cc in 2.x wheels, and in the module that Python imports in 1.15 wheels.
std::string FindLibrary(const fs::path& directory) {
  std::vector<fs::path> folders = {directory, directory / "lib"};
  std::vector<fs::path> packages = {directory};
  std::error_code error;  // of the iterator: there may be no such directory
  for (const fs::path& python : fs::directory_iterator(directory / "lib", error)) {
    packages.push_back(python / "site-packages");
  }
  for (const fs::path& folder : packages) {
    for (const char* name : {"tensorflow", "tensorflow_core"}) folders.push_back(folder / name);
  }
  for (const char* name : {"libtensorflow_cc.so.2", "libtensorflow.so", "libtensorflow.so.2",
                           "libtensorflow.so.1", "python/_pywrap_tensorflow_internal.so"}) {
    for (const fs::path& folder : folders) {
      if (fs::exists(folder / name, error)) return folder / name;
    }
  }
  return "";
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

TensorFlow LoadTensorFlow(const std::string& path) {
  TensorFlow tf;
  tf.path = path;
  if (path.empty()) {  // use the first of the official names that the system's loader finds
    for (const char* name : {"libtensorflow.so", "libtensorflow.so.2", "libtensorflow.so.1"}) {
      tf.path = name;
      if (dlopen(name, RTLD_LAZY | RTLD_LOCAL)) break;
    }
  } else if (std::error_code error; fs::is_directory(path, error)) {
    tf.path = FindLibrary(path);
    if (tf.path.empty()) throw Error(path, ": contains no TensorFlow library");
  } else if (path.find('/') == std::string::npos) {
    tf.path = "./" + path;  // without a slash, dlopen searches the system's directories
  }
  // The library of the 1.15 wheels needs symbols of Python, which the Makefile provides. Lazy
  // binding, because other libraries may lack some of the functions.
  void* library = dlopen(tf.path.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (!library) {
    const char* folders = std::getenv("LD_LIBRARY_PATH");
    const char* advice = path.empty() ? " (give a library with --library)"
        : folders && *folders ? ". Unset LD_LIBRARY_PATH, which may name libraries of another one"
        : "";
    throw Error("cannot load TensorFlow: ", OneLine(dlerror()), advice);
  }
#define LABEL_IMAGE_FIND(name, result, parameters)                              \
  tf.name = reinterpret_cast<result(*) parameters>(dlsym(library, "TF_" #name)); \
  if (!tf.name) throw Error(tf.path, " is not a TensorFlow library: it has no TF_" #name);
  LABEL_IMAGE_TF_FUNCTIONS(LABEL_IMAGE_FIND)
#undef LABEL_IMAGE_FIND
  tf.version = tf.Version();
  return tf;
}

Tensor::Tensor(const TensorFlow& tf, int type, const Shape& shape, size_t element_size)
    : Tensor(tf, nullptr) {
  size_t size = element_size;
  for (int64_t dimension : shape) size *= static_cast<size_t>(dimension);
  tensor_.reset(tf.AllocateTensor(type, shape.data(), static_cast<int>(shape.size()), size));
  if (!tensor_ || !data()) {
    throw Error("no memory for a tensor of ", size, " bytes: use a smaller --batch_size");
  }
}

Shape Tensor::shape() const {
  Shape shape(tf_->NumDims(get()));
  for (size_t i = 0; i < shape.size(); ++i) shape[i] = tf_->Dim(get(), static_cast<int>(i));
  return shape;
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

Session::Session(const TensorFlow& tf, std::string_view graph, const std::string& input,
                 const std::string& output, std::string_view config)
    : tf_(tf), status_(tf.NewStatus(), tf.DeleteStatus), graph_(ImportGraph(tf, graph)) {
  input_ = Output(input);
  output_ = Output(output);
  const Owned<TF_SessionOptions> options(tf.NewSessionOptions(), tf.DeleteSessionOptions);
  tf.SetConfig(options.get(), config.data(), config.size(), status_.get());
  CheckStatus(tf_, status_.get(), "rejects the session configuration");
  session_ = tf.NewSession(graph_.get(), options.get(), status_.get());
  CheckStatus(tf_, status_.get(), "cannot create a session");
}

Session::~Session() {
  if (session_) tf_.DeleteSession(session_, status_.get());
}

TF_Output Session::Output(const std::string& node) const {
  TF_Operation* operation = tf_.GraphOperationByName(graph_.get(), node.c_str());
  if (!operation || tf_.OperationNumOutputs(operation) < 1) {
    throw Error("node ", Quote(node), " has no output");
  }
  return {operation, 0};
}

Shape Session::InferredShape(const std::string& node) const {
  const TF_Output output = Output(node);
  const int rank = tf_.GraphGetTensorNumDims(graph_.get(), output, status_.get());
  if (rank < 0 || tf_.GetCode(status_.get()) != 0) return {};
  Shape shape(rank);
  tf_.GraphGetTensorShape(graph_.get(), output, shape.data(), rank, status_.get());
  return tf_.GetCode(status_.get()) == 0 ? shape : Shape();
}

Tensor Session::Run(const Tensor& input, std::string_view options, std::string* metadata) {
  const TF_Buffer run_options = {options.data(), options.size(), nullptr};
  const Owned<TF_Buffer> run_metadata(metadata ? tf_.NewBuffer() : nullptr, tf_.DeleteBuffer);
  TF_Tensor* const fed = input.get();
  TF_Tensor* fetched = nullptr;
  crash_phase = "while running the graph";
  tf_.SessionRun(session_, metadata ? &run_options : nullptr, &input_, &fed, 1, &output_, &fetched,
                 1, nullptr, 0, run_metadata.get(), status_.get());
  CheckStatus(tf_, status_.get(), "cannot run the graph");
  if (metadata) {
    metadata->assign(static_cast<const char*>(run_metadata->data), run_metadata->length);
  }
  return Tensor(tf_, fetched);
}

}  // namespace label_image
