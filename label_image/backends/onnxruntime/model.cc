#include "backends/onnxruntime/model.h"

#include "backends/onnxruntime/api.h"
#include "error.h"
#include "file.h"
#include "graph/onnx_file.h"
#include "process/crash_handler.h"

namespace label_image {
namespace {

constexpr int kTensor = 1;  // an ONNXType

// DataType and ONNXTensorElementDataType.
constexpr int kTypes[][2] = {{kFloat, 1}, {kUint8, 2}, {kInt8, 3}, {kInt32, 6}, {kInt64, 7},
                             {kString, 8}, {kBool, 9}, {kHalf, 10}, {kDouble, 11}};

int FromOnnx(int type) {
  for (const auto& [ours, theirs] : kTypes) {
    if (theirs == type) return ours;
  }
  return -1;
}

int ToOnnx(int type) {
  for (const auto& [ours, theirs] : kTypes) {
    if (ours == type) return theirs;
  }
  return 0;
}

InputInfo ReadInfo(const Ort& ort, const OrtTensorTypeAndShapeInfo* info) {
  InputInfo result;
  size_t rank = 0;
  ort.Check(ort.GetTensorElementType(info, &result.type), "cannot read a type");
  ort.Check(ort.GetDimensionsCount(info, &rank), "cannot read a shape");
  result.shape.resize(rank);
  ort.Check(ort.GetDimensions(info, result.shape.data(), rank), "cannot read a shape");
  result.type = FromOnnx(result.type);
  return result;
}

class OnnxSession : public Session {
 public:
  OnnxSession(const Ort& ort, std::shared_ptr<OrtSession> session, const Nodes& nodes, int type)
      : ort_(ort), session_(std::move(session)), nodes_(nodes), type_(type) {}
  ~OnnxSession() override { ReleaseOutput(); }

  Tensor NewInput(const Shape& shape) override {
    OrtValue* value = nullptr;
    ort_.Check(ort_.CreateTensorAsOrtValue(ort_.allocator, shape.data(), shape.size(),
                                           ToOnnx(type_), &value),
               "has no memory for a tensor: use a smaller --batch_size");
    Tensor tensor = {type_, shape, nullptr, {value, ort_.ReleaseValue}};
    ort_.Check(ort_.GetTensorMutableData(value, &tensor.data), "cannot fill a tensor");
    ReleaseOutput();  // which may have another shape
    return tensor;
  }

  Tensor Run(const Tensor& input, std::string*) override {
    const auto* fed = static_cast<const OrtValue*>(input.owner.get());
    const char *from = nodes_.input.c_str(), *to = nodes_.output.c_str();
    const bool first = !output_;
    crash_phase = "while running the model";
    ort_.Check(ort_.Run(session_.get(), nullptr, &from, &fed, 1, &to, 1, &output_),
               "cannot run the model");
    if (first) {  // later runs write to the same tensor
      OrtTensorTypeAndShapeInfo* info = nullptr;
      ort_.Check(ort_.GetTensorTypeAndShape(output_, &info), "returns no tensor");
      const std::unique_ptr<OrtTensorTypeAndShapeInfo, decltype(ort_.ReleaseTensorTypeAndShapeInfo)>
          owner(info, ort_.ReleaseTensorTypeAndShapeInfo);
      const InputInfo output = ReadInfo(ort_, info);
      result_ = {output.type, output.shape, nullptr, nullptr};
      ort_.Check(ort_.GetTensorMutableData(output_, &result_.data), "returns no tensor");
    }
    return result_;
  }

 private:
  void ReleaseOutput() {
    if (output_) ort_.ReleaseValue(output_);
    output_ = nullptr;
  }

  const Ort& ort_;
  const std::shared_ptr<OrtSession> session_;
  const Nodes nodes_;
  const int type_;
  OrtValue* output_ = nullptr;
  Tensor result_;
};

class OnnxModel : public Model {
 public:
  OnnxModel(const Ort& ort, ModelFile file, const ModelOptions& options)
      : Model(file.name), ort_(ort) {
    crash_phase = "while loading the model";
    OrtSessionOptions* settings = nullptr;
    ort.Check(ort.CreateSessionOptions(&settings), "cannot make options");
    const std::unique_ptr<OrtSessionOptions, decltype(ort.ReleaseSessionOptions)> owner(
        settings, ort.ReleaseSessionOptions);
    ort.Check(ort.SetIntraOpNumThreads(settings, options.threads), "cannot set threads");
    ort.Check(ort.SetInterOpNumThreads(settings, 1), "cannot set threads");
    OrtSession* session = nullptr;
    // Only with the path does ONNX Runtime find the weights that are in files next to the model.
    // A pipe has been read: its bytes are all there is.
    const bool regular = DropBytes(&file);
    ort.Check(regular ? ort.CreateSession(ort.env, file.path.c_str(), settings, &session)
                      : ort.CreateSessionFromArray(ort.env, file.bytes.data(), file.bytes.size(),
                                                   settings, &session),
              "rejects the model");
    session_.reset(session, ort.ReleaseSession);
    if (regular) file.bytes = ReadFile(file.path);
    labels_ = OnnxLabels(file.bytes);
    nodes_ = ChooseNodes(name(), Names(ort.SessionGetInputCount, ort.SessionGetInputName),
                         Names(ort.SessionGetOutputCount, ort.SessionGetOutputName), options);
    source_op_ = OnnxSourceOp(file.bytes, nodes_.output);
    if (!nodes_.input.empty()) input_ = ReadInput();
    nodes_.own = nodes_.own && input_.type == kUint8;
  }

  std::vector<std::string> Labels() const override { return labels_; }

  std::unique_ptr<Session> Open(const InputInfo& input, bool) override {
    return std::make_unique<OnnxSession>(ort_, session_, nodes_, input.type);
  }

 private:
  template <typename Count, typename Name>
  std::vector<std::string> Names(Count count, Name name) const {
    size_t size = 0;
    ort_.Check(count(session_.get(), &size), "cannot list the inputs or outputs");
    std::vector<std::string> names;
    for (size_t i = 0; i < size; ++i) {
      char* text = nullptr;
      ort_.Check(name(session_.get(), i, ort_.allocator, &text), "cannot read a name");
      names.emplace_back(text);
      ort_.Check(ort_.AllocatorFree(ort_.allocator, text), "cannot free a name");
    }
    return names;
  }

  InputInfo ReadInput() const {
    OrtTypeInfo* type = nullptr;
    ort_.Check(ort_.SessionGetInputTypeInfo(session_.get(), 0, &type), "cannot read a type");
    const std::unique_ptr<OrtTypeInfo, decltype(ort_.ReleaseTypeInfo)> owner(type,
                                                                             ort_.ReleaseTypeInfo);
    int kind = 0;
    ort_.Check(ort_.GetOnnxTypeFromTypeInfo(type, &kind), "cannot read a type");
    if (kind != kTensor) throw Error(name(), ": input ", Quote(nodes_.input), " is not a tensor");
    const OrtTensorTypeAndShapeInfo* info = nullptr;
    ort_.Check(ort_.CastTypeInfoToTensorInfo(type, &info), "cannot read a type");
    return ReadInfo(ort_, info);
  }

  const Ort& ort_;
  std::vector<std::string> labels_;
  std::shared_ptr<OrtSession> session_;
};

}  // namespace

Backend LoadOnnxRuntime(const std::vector<std::string>& libraries) {
  const auto ort = std::make_shared<const Ort>(LoadOrt(libraries));
  return {"ONNX Runtime", ort->version, ort->path,
          [ort](ModelFile file, const ModelOptions& options) {
            return std::make_unique<OnnxModel>(*ort, std::move(file), options);
          }};
}

}  // namespace label_image
