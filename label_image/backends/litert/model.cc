#include "backends/litert/model.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "backends/litert/api.h"
#include "backends/litert/tensors.h"
#include "error.h"
#include "graph/tflite_file.h"
#include "process/crash_handler.h"

namespace label_image {
namespace {

constexpr int kCpu = 1;            // a LiteRtHwAccelerators
constexpr size_t kSignature = 0;   // the only one of converted graphs

// TensorFlow's names of the operations that output.cc knows, by BuiltinOperator.
const char* OpName(int code) {
  switch (code) {
    case 0: return "AddV2";
    case 1: return "AvgPool";
    case 3: return "Conv2D";
    case 9: return "MatMul";
    case 14: return "Sigmoid";
    case 18: return "Mul";
    case 25: return "Softmax";
    case 40: return "Mean";
    case 41: return "Sub";
    case 42: return "RealDiv";
    case 50: return "LogSoftmax";
    default: return "";
  }
}

// Hand their first input on: DEQUANTIZE, RESHAPE, SQUEEZE, CAST, QUANTIZE.
bool IsPassing(int code) {
  return code == 6 || code == 22 || code == 43 || code == 53 || code == 114;
}

class LiteRtModel : public Model {
 public:
  LiteRtModel(const LiteRt& litert, ModelFile file, const ModelOptions& options)
      : Model(file.name), litert_(litert), bytes_(std::move(file.bytes)),
        labels_(TfliteLabels(bytes_)) {
    crash_phase = "while loading the model";
    LiteRtModelT* model = nullptr;
    litert.Check(litert.CreateModelFromBuffer(litert.environment, bytes_.data(), bytes_.size(),
                                              &model),
                 "rejects the model");
    size_t count = 0;
    LiteRtSignatureT* signature = nullptr;
    litert.Check(litert.GetNumModelSignatures(model, &count), "cannot count signatures");
    if (count == 0) throw Error(name(), " has no signature");
    litert.Check(litert.GetModelSignature(model, kSignature, &signature),
                 "cannot read the signature");
    const auto inputs =
        Names(signature, litert.GetNumSignatureInputs, litert.GetSignatureInputName);
    outputs_ = Names(signature, litert.GetNumSignatureOutputs, litert.GetSignatureOutputName);
    nodes_ = ChooseNodes(name(), inputs, outputs_, options);
    ReadTensors(signature);
    nodes_.own = nodes_.own && input_.type == kUint8;
    Compile(model, options.threads);
  }

  std::vector<std::string> Labels() const override { return labels_; }
  std::unique_ptr<Session> Open(const InputInfo& input, bool traced) override;

  // Let the next run have inputs of another shape. Return a status.
  int Resize(const Shape& shape, std::vector<LiteRtLayout>* layouts) const {
    const std::vector<int> sizes(shape.begin(), shape.end());
    const int status = litert_.CompiledModelResizeInputTensorNonStrict(
        compiled_, kSignature, 0, sizes.data(), sizes.size());
    layouts->resize(outputs_.size());
    return status ? status
                  : litert_.GetCompiledModelOutputTensorLayouts(compiled_, kSignature,
                                                                layouts->size(), layouts->data(),
                                                                true);
  }

  const LiteRt& litert() const { return litert_; }
  LiteRtCompiledModelT* compiled() const { return compiled_; }
  const LiteRtRankedTensorType& input_type() const { return input_type_; }
  const std::vector<LiteRtRankedTensorType>& output_types() const { return output_types_; }
  size_t output_index() const {
    return std::find(outputs_.begin(), outputs_.end(), nodes_.output) - outputs_.begin();
  }

 private:
  template <typename Count, typename Name>
  std::vector<std::string> Names(LiteRtSignatureT* signature, Count count, Name name) const {
    size_t size = 0;
    litert_.Check(count(signature, &size), "cannot list the inputs or outputs");
    std::vector<std::string> names(size);
    for (size_t i = 0; i < size; ++i) {
      const char* text = nullptr;
      litert_.Check(name(signature, i, &text), "cannot read a name");
      names[i] = text;
    }
    return names;
  }

  void ReadTensors(LiteRtSignatureT* signature) {
    LiteRtTensorT* tensor = nullptr;
    output_types_.resize(outputs_.size());
    for (size_t i = 0; i < outputs_.size(); ++i) {
      litert_.Check(litert_.GetSignatureOutputTensorByIndex(signature, i, &tensor),
                    "finds no output");
      litert_.Check(litert_.GetRankedTensorType(tensor, &output_types_[i]), "cannot read a type");
      if (outputs_[i] == nodes_.output) source_op_ = SourceOp(tensor);
    }
    if (nodes_.input.empty()) return;
    litert_.Check(litert_.GetSignatureInputTensorByIndex(signature, 0, &tensor), "finds no input");
    litert_.Check(litert_.GetRankedTensorType(tensor, &input_type_), "cannot read a type");
    input_ = ReadInfo(input_type_);
  }

  std::string SourceOp(LiteRtTensorT* tensor) const {
    int code = -1;
    for (int i = 0; i < 100; ++i) {  // a damaged file may have a cycle
      bool found = false;
      LiteRtDefiningOp defining = {};
      if (litert_.GetTensorDefiningOp(tensor, &found, &defining) != 0 || !found) return "";
      if (litert_.GetOpCode(defining.op, &code) != 0) return "";
      if (!IsPassing(code) || litert_.GetOpInput(defining.op, 0, &tensor) != 0) break;
    }
    return OpName(code);
  }

  void Compile(LiteRtModelT* model, int threads) {
    LiteRtOptionsT* options = nullptr;
    LiteRtOpaqueOptionsT* cpu = nullptr;
    litert_.Check(litert_.CreateOptions(&options), "cannot make options");
    litert_.Check(litert_.SetOptionsHardwareAccelerators(options, kCpu), "cannot select the CPU");
    char* text = strdup(Concat("num_threads = ", threads, "\n").c_str());
    litert_.Check(litert_.CreateOpaqueOptions("xnnpack", text, free, &cpu), "cannot set threads");
    litert_.Check(litert_.AddOpaqueOptions(options, cpu), "cannot set threads");
    litert_.Check(litert_.CreateCompiledModel(litert_.environment, model, options, &compiled_),
                  "rejects the model");
    if (nodes_.output.empty() || input_.shape.empty() || input_.shape[0] != 1) return;
    // Converters write a batch size of 1 for any. Some graphs have it in a Reshape, too.
    Shape two = input_.shape;
    two[0] = 2;
    std::vector<LiteRtLayout> layouts;
    const bool known = std::all_of(two.begin(), two.end(), [](int64_t size) { return size > 0; });
    if (known && Resize(two, &layouts) == 0 && layouts[output_index()].dimensions[0] == 2) {
      input_.shape[0] = -1;
    }
  }

  const LiteRt& litert_;
  const std::string bytes_;  // the model reads its weights there
  const std::vector<std::string> labels_;
  std::vector<std::string> outputs_;
  LiteRtRankedTensorType input_type_ = {};
  std::vector<LiteRtRankedTensorType> output_types_;
  LiteRtCompiledModelT* compiled_ = nullptr;
};

class LiteRtSession : public Session {
 public:
  explicit LiteRtSession(const LiteRtModel& model)
      : model_(model), index_(model.output_index()) {}

  Tensor NewInput(const Shape& shape) override {
    if (shape == input_.shape) return input_;
    const LiteRt& litert = model_.litert();
    std::vector<LiteRtLayout> layouts;
    input_ = Tensor();
    litert.Check(model_.Resize(shape, &layouts), "does not accept this number or size of images");
    outputs_.clear();
    fetched_.clear();
    for (size_t i = 0; i < layouts.size(); ++i) {
      const LiteRtRankedTensorType type = {model_.output_types()[i].element_type, layouts[i]};
      outputs_.push_back(NewTensor(litert, type, ReadInfo(type).shape));
      fetched_.push_back(static_cast<LiteRtTensorBufferT*>(outputs_[i].owner.get()));
    }
    return input_ = NewTensor(litert, model_.input_type(), shape);
  }

  Tensor Run(const Tensor& input, std::string*) override {
    auto* fed = static_cast<LiteRtTensorBufferT*>(input.owner.get());
    crash_phase = "while running the model";
    model_.litert().Check(model_.litert().RunCompiledModel(model_.compiled(), kSignature, 1, &fed,
                                                           fetched_.size(), fetched_.data()),
                          "cannot run the model");
    return outputs_[index_];
  }

 private:
  const LiteRtModel& model_;
  const size_t index_;  // of the output
  Tensor input_;
  std::vector<Tensor> outputs_;
  std::vector<LiteRtTensorBufferT*> fetched_;  // those of outputs_
};

std::unique_ptr<Session> LiteRtModel::Open(const InputInfo&, bool) {
  return std::make_unique<LiteRtSession>(*this);
}

}  // namespace

Backend LoadLiteRtBackend(const std::vector<std::string>& libraries) {
  const auto litert = std::make_shared<const LiteRt>(LoadLiteRt(libraries));
  return {"LiteRT", litert->version, litert->path,
          [litert](ModelFile file, const ModelOptions& options) {
            return std::make_unique<LiteRtModel>(*litert, std::move(file), options);
          }};
}

}  // namespace label_image
