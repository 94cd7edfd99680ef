#include "graph/subgraph.h"

#include <unordered_set>
#include <vector>

#include "error.h"
#include "graph/allowed_ops.h"
#include "graph/graph_def.h"
#include "graph/wire.h"

namespace label_image {
namespace {

// Return the bytes per element of a DataType, or 0 if they are not fixed or not known here.
int64_t ElementSize(uint64_t type) {
  static constexpr int8_t kSizes[] = {0, 4, 8, 4, 1, 2, 1, 0, 8, 8, 1, 1,
                                      1, 4, 2, 2, 2, 2, 16, 2, 0, 0, 4, 8};
  return type < sizeof(kSizes) ? kSizes[type] : 0;
}

// Throw Error if the content of a Const does not fit its shape.
void CheckTensor(std::string_view tensor) {
  uint64_t type = 0;
  Shape shape;
  std::string_view content;
  wire::Field field;
  for (wire::Reader reader(tensor); reader.Next(&field);) {
    switch (field.number) {
      case kTensorType: type = field.AsVarint(); break;
      case kTensorShape: {
        const std::optional<Shape> parsed = ParseShape(field.AsBytes());
        if (!parsed) throw Error("has no shape");
        shape = *parsed;
        break;
      }
      case kTensorContent: content = field.AsBytes(); break;
    }
  }
  const int64_t size = CountElements(shape) * ElementSize(type);
  if (!content.empty() && ElementSize(type) > 0 && static_cast<int64_t>(content.size()) != size) {
    throw Error(Format("has %zu bytes, but its shape needs %lld", content.size(),
                       static_cast<long long>(size)));
  }
}

// Return the nodes that `output` depends on, without those that only `input` depends on.
std::vector<const Node*> CollectNodes(const Graph& graph, const Node& input, const Node& output) {
  std::vector<const Node*> nodes, stack = {&output};
  std::unordered_set<std::string_view> visited = {output.name};
  while (!stack.empty()) {
    const Node* node = stack.back();
    stack.pop_back();
    nodes.push_back(node);
    if (node == &input) continue;
    for (std::string_view source : node->inputs) {
      const Node* next = graph.Find(NodeName(source));
      if (!next) {
        throw Error(graph.path() + " is damaged: node " + Quote(node->name) + " needs " +
                    Quote(source) + ", which is missing");
      }
      if (visited.insert(next->name).second) stack.push_back(next);
    }
  }
  if (!visited.count(input.name)) {
    throw Error(graph.path() + ": " + Quote(output.name) + " does not depend on " +
                Quote(input.name));
  }
  return nodes;
}

void CheckOperations(const Graph& graph, const std::vector<const Node*>& nodes,
                     const Subgraph& subgraph) {
  std::string forbidden;
  for (const Node* node : nodes) {
    if (node->name == subgraph.input) continue;
    if (IsPlaceholder(*node) && node->inputs.empty()) {
      throw Error(graph.path() + ": only " + Quote(subgraph.input) + " can be fed, but " +
                  Quote(subgraph.output) + " also needs the placeholder " + Quote(node->name));
    }
    if (IsAllowedInInference(node->op) || forbidden.size() > 200) continue;
    forbidden += forbidden.empty() ? "" : ", ";
    forbidden += OneLine(node->op, 50) + " (" + Quote(node->name) + ")";
  }
  if (forbidden.empty()) return;
  throw Error(graph.path() + " has operations between " + Quote(subgraph.input) + " and " +
              Quote(subgraph.output) + " that are not allowed in inference (--allow_any_op runs "
              "them anyway): " + forbidden);
}

void WriteAttribute(std::string_view key, std::string_view value, wire::Writer* node) {
  node->Bytes(kNodeAttr, wire::Writer().Bytes(kMapKey, key).Bytes(kMapValue, value).str());
}

void WritePlaceholder(const Subgraph& subgraph, wire::Writer* node) {
  wire::Writer shape;
  for (int64_t size : subgraph.shape) {
    shape.Bytes(kShapeDim, wire::Writer().Varint(kDimSize, static_cast<uint64_t>(size)).str());
  }
  node->Bytes(kNodeOp, "Placeholder");
  WriteAttribute("dtype", wire::Writer().Varint(kAttrType, subgraph.type).str(), node);
  WriteAttribute("shape", wire::Writer().Bytes(kAttrShape, shape.str()).str(), node);
}

void WriteNode(const Node& source, wire::Writer* node) {
  node->Bytes(kNodeOp, source.op);
  for (std::string_view input : source.inputs) node->Bytes(kNodeInput, input);
  for (const auto& [key, value] : source.attributes) {
    // Colocations (_class) may name nodes that are left out; shapes may be out of date.
    if (key != "_class" && key != "_output_shapes") WriteAttribute(key, value, node);
  }
  const auto value = source.Attribute("value");
  if (source.op != "Const" || !value) return;
  if (const auto tensor = wire::LastField(*value, kAttrTensor)) CheckTensor(tensor->AsBytes());
}

}  // namespace

std::string ExtractSubgraph(const Graph& graph, const Subgraph& subgraph) {
  const Node& input = graph.Get(subgraph.input);
  const auto nodes = CollectNodes(graph, input, graph.Get(subgraph.output));
  if (!subgraph.allow_any_op) CheckOperations(graph, nodes, subgraph);
  wire::Writer message;
  for (const Node* node : nodes) {
    wire::Writer written;
    written.Bytes(kNodeName, node->name);
    try {
      if (node == &input) {
        WritePlaceholder(subgraph, &written);
      } else {
        WriteNode(*node, &written);
      }
    } catch (const Error& error) {
      throw Error(graph.path() + " is damaged: " + OneLine(node->op, 50) + " " + Quote(node->name) +
                  " " + error.what());
    }
    message.Bytes(kGraphNode, written.str());
  }
  // Allowed operations call no functions.
  for (std::string_view library : graph.libraries()) {
    if (subgraph.allow_any_op) message.Bytes(kGraphLibrary, library);
  }
  return message.str() + graph.versions();
}

}  // namespace label_image
