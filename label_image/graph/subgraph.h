// The part of a graph that inference runs, checked. TensorFlow never sees the rest of the file,
// such as the queues, losses and savers of a training.
#pragma once

#include <string>
#include <string_view>

#include "graph/graph.h"

namespace label_image {

struct Subgraph {
  std::string input;          // node to feed: becomes a Placeholder of `type` and `shape`
  DataType type;
  Shape shape;
  std::string output;         // node to fetch
  bool allow_any_op = false;  // keep what allowed_ops.def does not allow
};

// Return a GraphDef of the nodes from subgraph.input to subgraph.output, without their device
// placements and colocations, which are those of another machine. Throws Error if the output does
// not depend on the input, or if a node is missing, damaged, or not allowed by allowed_ops.def.
std::string ExtractSubgraph(const Graph& graph, const Subgraph& subgraph);

}  // namespace label_image
