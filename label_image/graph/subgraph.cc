#include "graph/subgraph.h"

#include <unordered_set>
#include <vector>

#include "error.h"
#include "graph/graph_def.h"
#include "graph/wire.h"

namespace label_image {
namespace {

// Throw Error if the content of a Const does not fit its shape.
void CheckConstant(const Constant& constant) {
  // Bytes per element, by DataType. 0: not fixed, or not known here.
  static constexpr int8_t kSizes[] = {0, 4, 8, 4, 1, 2, 1, 0, 8, 8, 1, 1,
                                      1, 4, 2, 2, 2, 2, 16, 2, 0, 0, 4, 8};
  if (!constant.shape) throw Error("has no shape");
  const int64_t element_size = constant.type < sizeof(kSizes) ? kSizes[constant.type] : 0;
  const int64_t bytes = constant.content.size();
  const int64_t size = CountElements(*constant.shape) * element_size;
  if (bytes > 0 && element_size > 0 && bytes != size) {
    throw Error("has ", bytes, " bytes, but its shape needs ", size);
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
        throw Error(graph.path(), " is damaged: node ", Quote(node->name), " needs ",
                    Quote(source), ", which is missing");
      }
      if (visited.insert(next->name).second) stack.push_back(next);
    }
  }
  if (visited.count(input.name)) return nodes;
  throw Error(graph.path(), ": ", Quote(output.name), " does not depend on ", Quote(input.name));
}

void CheckOperations(const Graph& graph, const std::vector<const Node*>& nodes,
                     const Subgraph& subgraph) {
  std::string forbidden;
  for (const Node* node : nodes) {
    if (node->name == subgraph.input) continue;
    if (IsPlaceholder(*node) && node->inputs.empty()) {
      throw Error(graph.path(), ": only ", Quote(subgraph.input), " can be fed, but ",
                  Quote(subgraph.output), " also needs the placeholder ", Quote(node->name));
    }
    if (IsAllowedInInference(node->op) || forbidden.size() > 200) continue;
    forbidden += Concat(forbidden.empty() ? "" : ", ", OneLine(node->op, 50), " (",
                        Quote(node->name), ")");
  }
  if (forbidden.empty()) return;
  throw Error(graph.path(), " has operations between ", Quote(subgraph.input), " and ",
              Quote(subgraph.output), " that are not allowed in inference (--allow_any_op runs "
              "them anyway): ", forbidden);
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
  const auto tensor = source.Attribute("value", kAttrTensor);
  if (source.op == "Const" && tensor) CheckConstant(ParseConstant(tensor->AsBytes()));
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
      node == &input ? WritePlaceholder(subgraph, &written) : WriteNode(*node, &written);
    } catch (const Error& error) {
      throw Error(graph.path(), " is damaged: ", OneLine(node->op, 50), " ", Quote(node->name), " ",
                  error.what());
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
