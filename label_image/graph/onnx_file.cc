#include "graph/onnx_file.h"

#include <algorithm>
#include <unordered_map>

#include "file.h"
#include "graph/wire.h"

namespace label_image {
namespace {

// Field numbers in onnx.proto.
enum ModelField { kModelGraph = 7, kMetadata = 14 };
enum EntryField { kKey = 1, kValue = 2 };
enum GraphField { kGraphNode = 1 };
enum NodeField { kNodeInput = 1, kNodeOutput = 2, kOpType = 4 };

// ONNX's names of the operations that output.cc knows, and TensorFlow's.
constexpr std::string_view kNames[][2] = {
    {"Gemm", "MatMul"}, {"Add", "AddV2"}, {"Conv", "Conv2D"}, {"Div", "RealDiv"},
    {"ReduceMean", "Mean"}, {"GlobalAveragePool", "AvgPool"}, {"AveragePool", "AvgPool"}};

// Hand their first input on, maybe in another shape or type.
constexpr std::string_view kPassing[] = {"Identity", "Reshape", "Squeeze", "Unsqueeze", "Cast",
                                         "Flatten", "Transpose", "QuantizeLinear",
                                         "DequantizeLinear"};

}  // namespace

std::vector<std::string> OnnxLabels(std::string_view model) {
  for (std::string_view entry : wire::AllBytes(model, kMetadata)) {
    if (wire::LastBytes(entry, kKey) == "labels") return Lines(wire::LastBytes(entry, kValue));
  }
  return {};
}

std::string OnnxSourceOp(std::string_view model, std::string_view output) {
  std::unordered_map<std::string_view, std::string_view> nodes;  // by output
  for (std::string_view graph : wire::AllBytes(model, kModelGraph)) {
    for (std::string_view node : wire::AllBytes(graph, kGraphNode)) {
      for (std::string_view name : wire::AllBytes(node, kNodeOutput)) nodes.emplace(name, node);
    }
  }
  std::string_view op;
  for (size_t i = 0; i <= nodes.size(); ++i) {  // more steps would be a cycle
    const auto found = nodes.find(output);
    if (found == nodes.end()) return "";
    op = wire::LastBytes(found->second, kOpType);
    const auto inputs = wire::AllBytes(found->second, kNodeInput);
    if (std::find(std::begin(kPassing), std::end(kPassing), op) == std::end(kPassing) ||
        inputs.empty()) {
      break;
    }
    output = inputs[0];
  }
  for (const auto& [onnx, tensorflow] : kNames) {
    if (op == onnx) return std::string(tensorflow);
  }
  return std::string(op);
}

}  // namespace label_image
