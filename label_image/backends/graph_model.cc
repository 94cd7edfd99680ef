#include "backends/graph_model.h"

#include <algorithm>
#include <optional>

#include "feed.h"
#include "graph/subgraph.h"

namespace label_image {
namespace {

// Before it, placeholders of unknown shape were written as scalars.
constexpr int64_t kUnknownShapeVersion = 24;

}  // namespace

GraphModel::GraphModel(std::shared_ptr<const Graph> graph, const ModelOptions& options)
    : Model(graph->path()), graph_(std::move(graph)), options_(options) {
  nodes_ = FindNodes(*graph_, options.node, options.output);
  if (!nodes_.assumed.empty()) {
    graph_ = std::make_shared<const Graph>(Feed(graph_->bytes(), name(), nodes_.assumed), name());
  }
  if (const Node* source = FindSource(*graph_, nodes_.output)) source_op_ = source->op;
  if (nodes_.input.empty()) return;
  const Node& node = graph_->Get(nodes_.input);
  const std::optional<Shape> shape = graph_->OutputShape(node);
  input_ = {graph_->OutputType(node), shape.value_or(Shape())};
  const bool is_scalar = shape && shape->empty() && graph_->producer() >= kUnknownShapeVersion;
  if (is_scalar && input_.type != kString) {
    throw Error(name(), ": node ", Quote(nodes_.input), " has shape [], but only images can be "
                "fed");
  }
  if (input_.type == 0 && nodes_.input == "images") input_.type = kUint8;
  nodes_.own = nodes_.own && input_.type == kUint8;
}

bool GraphModel::is_random() const {
  const auto& nodes = graph_->nodes();
  return !options_.allow_any_op && std::any_of(nodes.begin(), nodes.end(), [](const Node& node) {
    return node.op == "RandomUniform";
  });
}

std::string GraphModel::Extract(const std::string& node, const InputInfo& input) const {
  return ExtractSubgraph(*graph_, {node, static_cast<DataType>(input.type), input.shape,
                                   nodes_.output, options_.allow_any_op});
}

}  // namespace label_image
