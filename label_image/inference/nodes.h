// The nodes at which a graph is fed and fetched: named by flags, else found in the graph.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace label_image {

struct Nodes {
  std::string input, output;           // "" if it cannot be found; then a flag is missing
  std::vector<std::string> missing_flags;  // with the candidates
  std::vector<std::string> defaults;   // other placeholders, which have a default value
  std::vector<std::string> assumed;    // NAME=VALUE of others, which every inference sets so
  bool own = false;  // fed uint8 `images`, as the graphs of freeze_graph.py are; see backend.h
};

// Return "(candidates: a, b)", the first of `names`, for messages.
std::string Candidates(const std::vector<std::string>& names);

// Return "--flag NAME (candidates: a, b)": what to add to the command.
std::string MissingFlag(const std::string& flag, const std::vector<std::string>& names);

// Find the nodes of `graph`. `input` and `output` are names, also with ":0", or "".
//
// The input is `images` or `inputs` if there is such a node, else the only placeholder that images
// can be fed to; if that receives encoded images, the node that decodes them. The output is
// `predictions` or `probabilities`, else the only node that has float values, depends on the input,
// and that nothing else reads. An ArgMax counts as what it reads, and of several outputs the one
// counts of which it chooses the largest.
//
// Throws Error if a named node does not exist or returns indices, or if the graph is not frozen.
// permafrost/evaluation/frozen_graphs/nodes.py has the same rules.
Nodes FindNodes(const Graph& graph, const std::string& input, const std::string& output);

// Return the node whose values `output` hands on, maybe in another shape or type, or nullptr if the
// graph is damaged.
const Node* FindSource(const Graph& graph, const std::string& output);

// Return the name of a DataType (-1: unknown), and a shape such as [N, 32, 32, 3], for messages.
// `batched`: the first dimension is the number of images.
std::string TypeName(int type);
std::string ShapeText(const Shape& shape, bool batched = true);

}  // namespace label_image
