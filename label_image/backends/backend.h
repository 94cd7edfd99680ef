// The interface of a runtime (TensorFlow, LiteRT, ONNX Runtime or OpenVINO): a loaded library opens
// models, a model opens sessions, and a session runs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "graph/graph.h"
#include "inference/nodes.h"

namespace label_image {

// A tensor in memory that a runtime has allocated.
struct Tensor {
  int type = 0;  // DataType
  Shape shape;
  void* data = nullptr;
  std::shared_ptr<void> owner;  // the runtime's own object
};

// A model with one input and one output, ready to run.
class Session {
 public:
  virtual ~Session() = default;

  // Return an input to fill and to Run, any number of times. One from an earlier call is invalid.
  // Throws Error if the model does not take this shape, or for lack of memory.
  virtual Tensor NewInput(const Shape& shape) = 0;

  // Run once. The result is valid until the next call. If `trace` is not null, the session must
  // have been opened as traced; `trace` receives the serialized RunMetadata. Throws Error.
  virtual Tensor Run(const Tensor& input, std::string* trace = nullptr) = 0;
};

// The type and shape of a tensor that a model is fed.
struct InputInfo {
  int type = 0;  // DataType; 0: unknown
  Shape shape;   // {}: unknown; -1: any size
  bool batched = true;  // its first dimension, if any, is the number of images
};

// A file that a runtime has opened, with its input and output.
class Model {
 public:
  explicit Model(std::string name) : name_(std::move(name)) {}
  virtual ~Model() = default;

  const std::string& name() const { return name_; }  // of the file, for people
  const Nodes& nodes() const { return nodes_; }
  const InputInfo& input() const { return input_; }
  // The operation that computes the output, under TensorFlow's name; "": unknown.
  const std::string& source_op() const { return source_op_; }
  // Return the class names in the file, or nothing. Throws Error if they are damaged.
  virtual std::vector<std::string> Labels() const = 0;
  // Whether runs may draw random numbers, so that the answers must be compared.
  virtual bool is_random() const { return false; }

  // Return a session that is fed tensors of this type and shape; a first size of -1: any number of
  // images. `traced`: Run will be asked for a trace, which only TensorFlow makes. Throws Error.
  virtual std::unique_ptr<Session> Open(const InputInfo& input, bool traced) = 0;

 protected:
  std::string name_;
  Nodes nodes_;
  InputInfo input_;
  std::string source_op_;
};

// The bytes of a file and, if it is a GraphDef, the graph in it. Messages call it `name`.
struct ModelFile {
  std::string path, name, bytes;
  std::shared_ptr<const Graph> graph;
};

// Free the bytes of a regular file, before a runtime reads it by its path: they would count in the
// peak memory. Return whether it did; a pipe could not be read again.
bool DropBytes(ModelFile* file);

struct ModelOptions {
  std::string node, output;           // to feed and to fetch; "": see FindNodes
  std::string precision = "float32";  // or bfloat16
  // ConfigProto of TensorFlow, which may be empty; nothing: see session_config.h.
  std::optional<std::string> config;
  bool allow_any_op = false;          // see graph/subgraph.h
  int threads = 0;
};

// Return the input and the output of a model that lists them, of whatever runtime but TensorFlow:
// named by the options, else the usual ones, else the only ones. Throws Error if they do not exist,
// or if there are several inputs. `own` is to be set to false if the input is not uint8.
Nodes ChooseNodes(const std::string& path, const std::vector<std::string>& inputs,
                  const std::vector<std::string>& outputs, const ModelOptions& options);

// A loaded library. It is never unloaded.
struct Backend {
  std::string name, version;  // of the runtime, for people
  std::string library;        // its path
  // Throws Error, or UsageError if the options do not fit the file.
  std::function<std::unique_ptr<Model>(ModelFile, const ModelOptions&)> open;
};

// Return e.g. "TensorFlow 2.21.0, bfloat16".
std::string RuntimeText(const Backend& backend, const ModelOptions& options);

}  // namespace label_image
