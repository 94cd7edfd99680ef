// A frozen graph (GraphDef) as a model: its nodes are found and its operations checked by this
// program, whatever runtime then runs it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"

namespace label_image {

class GraphModel : public Model {
 public:
  // Find the nodes; see FindNodes. Throws Error.
  GraphModel(std::shared_ptr<const Graph> graph, const ModelOptions& options);

  std::vector<std::string> Labels() const override { return graph_->Labels(); }
  bool is_random() const override;

 protected:
  // Return the GraphDef from `node`, fed so, to the output; see ExtractSubgraph. Throws Error.
  std::string Extract(const std::string& node, const InputInfo& input) const;

  std::shared_ptr<const Graph> graph_;
  const ModelOptions options_;
};

}  // namespace label_image
