#include "backends/openvino/model.h"

#include <algorithm>

#include "backends/graph_model.h"
#include "backends/openvino/api.h"
#include "error.h"
#include "file.h"
#include "graph/onnx_file.h"
#include "graph/tflite_file.h"
#include "process/crash_handler.h"
#include "process/temporary_file.h"

namespace label_image {
namespace {

// DataType and ov_element_type_e.
constexpr int kTypes[][2] = {{kBool, 1}, {kHalf, 3}, {kFloat, 4}, {kDouble, 5}, {kInt8, 7},
                             {kInt32, 9}, {kInt64, 10}, {kUint8, 16}, {kString, 23}};

int ToDataType(int type) {
  for (const auto& [ours, theirs] : kTypes) {
    if (theirs == type) return ours;
  }
  return -1;
}

using OwnedModel = std::shared_ptr<ov_model>;

// Let a model have inputs of this shape. Return a status.
int Reshape(const OpenVino& ov, const OwnedModel& model, const Shape& shape) {
  ov_partial_shape fixed = {};  // known shapes are the fastest
  ov.Check(ov.partial_shape_create_static(static_cast<int64_t>(shape.size()), shape.data(), &fixed),
           "cannot make a shape");
  const int status = ov.model_reshape_single_input(model.get(), fixed);
  ov.partial_shape_free(&fixed);
  return status;
}

class OpenVinoSession : public Session {
 public:
  OpenVinoSession(const OpenVino& ov, OwnedModel model, size_t output, const ModelOptions& options)
      : ov_(ov), model_(std::move(model)), output_(output), options_(options) {}
  ~OpenVinoSession() override { Release(); }

  Tensor NewInput(const Shape& shape) override {
    if (shape == input_.shape) return input_;
    Release();
    crash_phase = "while loading the model";
    ov_.Check(Reshape(ov_, model_, shape), "does not accept this number or size of images");
    const std::string threads = std::to_string(options_.threads);
    const char* precision = options_.precision == "bfloat16" ? "bf16" : "f32";
    ov_.Check(ov_.core_compile_model(ov_.core, model_.get(), "CPU", 8, &compiled_,
                                     "INFERENCE_NUM_THREADS", threads.c_str(), "NUM_STREAMS", "1",
                                     "PERFORMANCE_HINT", "LATENCY", "INFERENCE_PRECISION_HINT",
                                     precision),
              "cannot compile the model");
    ov_.Check(ov_.compiled_model_create_infer_request(compiled_, &request_), "cannot run models");
    ov_tensor* tensor = nullptr;
    ov_.Check(ov_.infer_request_get_input_tensor_by_index(request_, 0, &tensor), "has no input");
    return input_ = Wrap(tensor);
  }

  Tensor Run(const Tensor&, std::string*) override {
    crash_phase = "while running the model";
    ov_.Check(ov_.infer_request_infer(request_), "cannot run the model");
    if (!result_.data) {  // the shape is fixed, and so is the tensor
      ov_tensor* tensor = nullptr;
      ov_.Check(ov_.infer_request_get_output_tensor_by_index(request_, output_, &tensor),
                "returns no output");
      result_ = Wrap(tensor);
    }
    return result_;
  }

 private:
  Tensor Wrap(ov_tensor* tensor) const {
    Tensor result = {0, {}, nullptr, {tensor, ov_.tensor_free}};
    ov_shape shape = {};
    ov_.Check(ov_.tensor_get_element_type(tensor, &result.type), "cannot read a type");
    ov_.Check(ov_.tensor_get_shape(tensor, &shape), "cannot read a shape");
    result.type = ToDataType(result.type);
    result.shape.assign(shape.dims, shape.dims + shape.rank);
    ov_.shape_free(&shape);
    ov_.Check(ov_.tensor_data(tensor, &result.data), "cannot read a tensor");
    return result;
  }

  void Release() {
    input_ = result_ = Tensor();
    if (request_) ov_.infer_request_free(request_);
    if (compiled_) ov_.compiled_model_free(compiled_);
    request_ = nullptr;
    compiled_ = nullptr;
  }

  const OpenVino& ov_;
  const OwnedModel model_;
  const size_t output_;
  const ModelOptions options_;
  ov_compiled_model* compiled_ = nullptr;
  ov_infer_request* request_ = nullptr;
  Tensor input_, result_;
};

OwnedModel Read(const OpenVino& ov, const std::string& path) {
  crash_phase = "while loading the model";
  ov_model* model = nullptr;
  ov.Check(ov.core_read_model(ov.core, path.c_str(), nullptr, &model), "rejects the model");
  return {model, ov.model_free};
}

OwnedModel Read(const OpenVino& ov, ModelFile* file) {
  const bool dropped = DropBytes(file);
  OwnedModel model = Read(ov, file->path);
  if (dropped) file->bytes = ReadFile(file->path);
  return model;
}

class OpenVinoGraph : public GraphModel {
 public:
  OpenVinoGraph(const OpenVino& ov, std::shared_ptr<const Graph> graph, const ModelOptions& options)
      : GraphModel(std::move(graph), options), ov_(ov) {}

  std::unique_ptr<Session> Open(const InputInfo& input, bool) override {
    const TemporaryFile file(Extract(nodes_.input, input));
    return std::make_unique<OpenVinoSession>(ov_, Read(ov_, file.path()), 0, options_);
  }

 private:
  const OpenVino& ov_;
};

class OpenVinoModel : public Model {
 public:
  OpenVinoModel(const OpenVino& ov, ModelFile file, const ModelOptions& options)
      : Model(file.name), ov_(ov), options_(options), model_(Read(ov, &file)) {
    const auto inputs = Names(ov.model_inputs_size, ov.model_const_input_by_index);
    const auto outputs = Names(ov.model_outputs_size, ov.model_const_output_by_index);
    nodes_ = ChooseNodes(name(), inputs, outputs, options);
    output_ = std::find(outputs.begin(), outputs.end(), nodes_.output) - outputs.begin();
    if (!nodes_.input.empty()) input_ = ReadInfo(ov_.model_const_input_by_index, 0);
    nodes_.own = nodes_.own && input_.type == kUint8;
    if (IsTflite(file.bytes)) {
      labels_ = TfliteLabels(file.bytes);
      if (TakesAnyBatch()) input_.shape[0] = -1;
    } else if (EndsWith(file.path, ".onnx")) {
      labels_ = OnnxLabels(file.bytes);
      source_op_ = OnnxSourceOp(file.bytes, nodes_.output);
    }
  }

  std::vector<std::string> Labels() const override { return labels_; }

  std::unique_ptr<Session> Open(const InputInfo&, bool) override {
    return std::make_unique<OpenVinoSession>(ov_, model_, output_, options_);
  }

 private:
  template <typename Count, typename Port>
  std::vector<std::string> Names(Count count, Port port) const {
    size_t size = 0;
    ov_.Check(count(model_.get(), &size), "cannot list the inputs or outputs");
    std::vector<std::string> names;
    for (size_t i = 0; i < size; ++i) {
      ov_output_const_port* found = nullptr;
      char* name = nullptr;
      ov_.Check(port(model_.get(), i, &found), "finds no tensor");
      if (ov_.port_get_any_name(found, &name) == 0 && name) {
        names.emplace_back(name);
      } else {
        names.push_back(std::to_string(i));  // it has no name
      }
      ov_.free(name);
      ov_.output_const_port_free(found);
    }
    return names;
  }

  template <typename Port>
  InputInfo ReadInfo(Port port_of, size_t index) const {
    InputInfo info;
    ov_output_const_port* port = nullptr;
    ov_partial_shape shape = {};
    ov_.Check(port_of(model_.get(), index, &port), "finds no tensor");
    ov_.Check(ov_.port_get_element_type(port, &info.type), "cannot read a type");
    ov_.Check(ov_.port_get_partial_shape(port, &shape), "cannot read a shape");
    info.type = ToDataType(info.type);
    for (int64_t i = 0; shape.dims && i < shape.rank.max; ++i) {
      const ov_dimension& size = shape.dims[i];
      info.shape.push_back(size.min == size.max ? size.min : -1);
    }
    ov_.partial_shape_free(&shape);
    ov_.output_const_port_free(port);
    return info;
  }

  // Converters write a batch size of 1 for any. Some graphs have it in a Reshape, too.
  bool TakesAnyBatch() const {
    Shape two = input_.shape;
    if (nodes_.output.empty() || two.empty() || two[0] != 1) return false;
    two[0] = 2;
    const bool known = *std::min_element(two.begin(), two.end()) >= 0;
    if (!known || Reshape(ov_, model_, two) != 0) return false;
    const Shape output = ReadInfo(ov_.model_const_output_by_index, output_).shape;
    return !output.empty() && output[0] == 2;
  }

  const OpenVino& ov_;
  const ModelOptions options_;
  const OwnedModel model_;
  std::vector<std::string> labels_;
  size_t output_ = 0;
};

}  // namespace

Backend LoadOpenVinoBackend(const std::vector<std::string>& libraries) {
  const auto ov = std::make_shared<const OpenVino>(LoadOpenVino(libraries));
  return {"OpenVINO", ov->version, ov->path,
          [ov](ModelFile file, const ModelOptions& options) -> std::unique_ptr<Model> {
            if (file.graph) return std::make_unique<OpenVinoGraph>(*ov, file.graph, options);
            return std::make_unique<OpenVinoModel>(*ov, std::move(file), options);
          }};
}

}  // namespace label_image
