#include "runtime/tensorflow.h"

#include <dlfcn.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>

#include <vector>

#include "error.h"

namespace label_image {
namespace {

bool IsDirectory(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// Return a path in which glob finds no patterns.
std::string EscapeGlob(const std::string& path) {
  std::string escaped;
  for (char c : path) {
    if (strchr("*?[\\", c)) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

// Return the first library below a directory, or "" if there is none. The C API is in
// libtensorflow_cc in 2.x wheels, and in the module that Python imports in 1.15 wheels.
std::string FindLibrary(const std::string& directory) {
  for (const char* name : {"libtensorflow_cc.so.2", "libtensorflow.so", "libtensorflow.so.2",
                           "libtensorflow.so.1", "python/_pywrap_tensorflow_internal.so"}) {
    for (const char* folder : {"/", "/lib/", "/tensorflow/", "/tensorflow_core/",
                               "/lib/python*/site-packages/tensorflow/",
                               "/lib/python*/site-packages/tensorflow_core/"}) {
      glob_t matches = {};
      std::string path;
      if (glob((EscapeGlob(directory) + folder + name).c_str(), 0, nullptr, &matches) == 0) {
        path = matches.gl_pathv[0];
      }
      globfree(&matches);
      if (!path.empty()) return path;
    }
  }
  return "";
}

// Return the first of the official names that the system's loader finds.
std::string SystemLibrary() {
  for (const char* name : {"libtensorflow.so", "libtensorflow.so.2", "libtensorflow.so.1"}) {
    if (dlopen(name, RTLD_LAZY | RTLD_LOCAL)) return name;
  }
  return "libtensorflow.so";
}

}  // namespace

TensorFlow LoadTensorFlow(const std::string& path) {
  TensorFlow tf;
  tf.path = path;
  if (path.empty()) {
    tf.path = SystemLibrary();
  } else if (IsDirectory(path)) {
    tf.path = FindLibrary(path);
    if (tf.path.empty()) throw Error(path + ": contains no TensorFlow library");
  } else if (path.find('/') == std::string::npos) {
    tf.path = "./" + path;  // without a slash, dlopen searches the system's directories
  }
  // The library of the 1.15 wheels needs symbols of Python, which the Makefile provides. Lazy
  // binding, because other libraries may lack some of the functions.
  void* library = dlopen(tf.path.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (!library) {
    const char* reason = dlerror();
    throw Error("cannot load TensorFlow: " + OneLine(reason ? reason : tf.path) +
                (path.empty() ? " (give a library with --library)" : ""));
  }
#define LABEL_IMAGE_FIND(name, result, parameters)                              \
  tf.name = reinterpret_cast<result(*) parameters>(dlsym(library, "TF_" #name)); \
  if (!tf.name) throw Error(tf.path + " is not a TensorFlow library: it has no TF_" #name);
  LABEL_IMAGE_TF_FUNCTIONS(LABEL_IMAGE_FIND)
#undef LABEL_IMAGE_FIND
  tf.version = tf.Version();
  return tf;
}

Tensor::Tensor(const TensorFlow& tf, int type, const Shape& shape, size_t element_size)
    : tf_(&tf) {
  size_t size = element_size;
  for (int64_t dimension : shape) size *= static_cast<size_t>(dimension);
  tensor_ = tf.AllocateTensor(type, shape.data(), static_cast<int>(shape.size()), size);
  if (!tensor_ || !tf.TensorData(tensor_)) {
    throw Error(Format("no memory for a tensor of %zu bytes: use a smaller --batch_size", size));
  }
}

Tensor::~Tensor() {
  if (tensor_) tf_->DeleteTensor(tensor_);
}

Shape Tensor::shape() const {
  Shape shape(tf_->NumDims(tensor_));
  for (size_t i = 0; i < shape.size(); ++i) shape[i] = tf_->Dim(tensor_, static_cast<int>(i));
  return shape;
}

Session::Session(const TensorFlow& tf, std::string_view graph, const std::string& input,
                 const std::string& output, std::string_view config)
    : tf_(tf), status_(tf.NewStatus(), tf.DeleteStatus), graph_(tf.NewGraph(), tf.DeleteGraph) {
  std::unique_ptr<TF_Buffer, void (*)(TF_Buffer*)> buffer(
      tf.NewBufferFromString(graph.data(), graph.size()), tf.DeleteBuffer);
  std::unique_ptr<TF_ImportGraphDefOptions, void (*)(TF_ImportGraphDefOptions*)> import(
      tf.NewImportGraphDefOptions(), tf.DeleteImportGraphDefOptions);
  tf.GraphImportGraphDef(graph_.get(), buffer.get(), import.get(), status_.get());
  CheckStatus("rejects the graph");
  input_ = Output(input);
  output_ = Output(output);
  std::unique_ptr<TF_SessionOptions, void (*)(TF_SessionOptions*)> options(
      tf.NewSessionOptions(), tf.DeleteSessionOptions);
  tf.SetConfig(options.get(), config.data(), config.size(), status_.get());
  CheckStatus("rejects the session configuration");
  session_ = tf.NewSession(graph_.get(), options.get(), status_.get());
  CheckStatus("cannot create a session");
}

Session::~Session() {
  if (!session_) return;
  tf_.CloseSession(session_, status_.get());
  tf_.DeleteSession(session_, status_.get());
}

TF_Output Session::Output(const std::string& node) const {
  TF_Operation* operation = tf_.GraphOperationByName(graph_.get(), node.c_str());
  if (!operation || tf_.OperationNumOutputs(operation) < 1) {
    throw Error("node " + Quote(node) + " has no output");
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
  std::unique_ptr<TF_Buffer, void (*)(TF_Buffer*)> run_options(nullptr, tf_.DeleteBuffer);
  std::unique_ptr<TF_Buffer, void (*)(TF_Buffer*)> run_metadata(nullptr, tf_.DeleteBuffer);
  if (!options.empty()) {
    run_options.reset(tf_.NewBufferFromString(options.data(), options.size()));
  }
  if (metadata) run_metadata.reset(tf_.NewBuffer());
  TF_Tensor* const fed = input.get();
  TF_Tensor* fetched = nullptr;
  tf_.SessionRun(session_, run_options.get(), &input_, &fed, 1, &output_, &fetched, 1, nullptr, 0,
                 run_metadata.get(), status_.get());
  CheckStatus("cannot run the graph");
  if (metadata) {
    metadata->assign(static_cast<const char*>(run_metadata->data), run_metadata->length);
  }
  return Tensor(tf_, fetched);
}

void Session::CheckStatus(const char* failure) const {
  if (tf_.GetCode(status_.get()) == 0) return;
  throw Error("TensorFlow " + tf_.version + " " + failure + ": " +
              OneLine(tf_.Message(status_.get())));
}

}  // namespace label_image
