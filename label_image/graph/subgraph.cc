#include "graph/subgraph.h"

#include <algorithm>
#include <vector>

#include "error.h"
#include "graph/allowed_ops.h"
#include "graph/graph_def.h"
#include "graph/wire.h"

namespace label_image {
namespace {

// Return the nodes that `output` depends on, without those that only `input` depends on. Throws
// Error if one is missing, or if `input` is not one of them.
std::vector<const Node*> CollectNodes(const Graph& graph, const Node& input, const Node& output) {
  const std::vector<const Node*> nodes = Upstream(graph, {&output}, &input);
  for (const Node* node : nodes) {
    if (node == &input) continue;
    for (std::string_view source : node->inputs) {
      if (graph.Find(NodeName(source))) continue;
      throw Error(graph.path(), " is damaged: node ", Quote(node->name), " needs ", Quote(source),
                  ", which is missing");
    }
  }
  if (std::find(nodes.begin(), nodes.end(), &input) != nodes.end()) return nodes;
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
  const std::string between =
      Concat(" between ", Quote(subgraph.input), " and ", Quote(subgraph.output));
  if (!forbidden.empty()) {
    throw Error(graph.path(), " has operations", between, " that are not allowed in inference "
                "(--allow_any_op runs them anyway): ", forbidden);
  }
  if (static_cast<int64_t>(nodes.size()) > kMaxNodes) {
    throw Error(graph.path(), " has ", nodes.size(), " nodes", between, ", more than ", kMaxNodes,
                " (--allow_any_op runs them anyway)");
  }
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

void WriteNode(const Node& source, bool allow_any_op, wire::Writer* node) {
  node->Bytes(kNodeOp, source.op);
  for (std::string_view input : source.inputs) node->Bytes(kNodeInput, input);
  for (const auto& [key, value] : source.attributes) {
    // Colocations (_class) may name nodes that are left out; shapes may be out of date.
    const bool dropped =
        allow_any_op ? key == "_class" || key == "_output_shapes" : IsInternal(key);
    if (!dropped) WriteAttribute(key, value, node);
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
  int64_t repeated = 0;
  for (const Node* node : nodes) {
    wire::Writer written;
    written.Bytes(kNodeName, node->name);
    const char *before = " is damaged: ", *after = "";
    try {
      if (node == &input) {
        WritePlaceholder(subgraph, &written);
      } else {
        WriteNode(*node, subgraph.allow_any_op, &written);
        before = ": ", after = " (--allow_any_op runs it anyway)";
        if (!subgraph.allow_any_op) repeated += CheckNode(*node);
        if (repeated > kMaxRepeated) throw Error("expands constants to too many elements");
      }
    } catch (const Error& error) {
      throw Error(graph.path(), before, OneLine(node->op, 50), " ", Quote(node->name), " ",
                  error.what(), after);
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
