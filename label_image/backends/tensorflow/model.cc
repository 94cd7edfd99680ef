#include "backends/tensorflow/model.h"

#include <algorithm>

#include "backends/graph_model.h"
#include "backends/tensorflow/session_config.h"
#include "backends/tensorflow/size_limits.h"
#include "backends/tensorflow/tensorflow.h"
#include "error.h"

namespace label_image {
namespace {

class TensorFlowModel : public GraphModel {
 public:
  TensorFlowModel(const TensorFlow& tf, std::shared_ptr<const Graph> graph,
                  const ModelOptions& options)
      : GraphModel(std::move(graph), options), tf_(tf) {
    const bool preprocessed =
        nodes_.input != "images" && !nodes_.input.empty() && graph_->Find("images");
    const bool floats = input_.type != kUint8 && input_.type != kString;
    if (!floats || !input_.shape.empty() || !preprocessed || nodes_.output.empty()) {
      return;
    }
    // TensorFlow infers the shape of `inputs` from that of `images`.
    const Shape images = graph_->OutputShape(graph_->Get("images")).value_or(Shape{-1, -1, -1, 3});
    const std::string subgraph = Extract("images", {kUint8, images});
    input_.shape = TensorFlowSession(tf, subgraph, "images", kUint8, nodes_.output, Config(false))
                       .InferredShape(nodes_.input);
  }

  std::unique_ptr<Session> Open(const InputInfo& input, bool traced) override {
    if (!options_.allow_any_op) {
      InputInfo one = input;
      if (one.batched && !one.shape.empty() && one.shape[0] < 0) one.shape[0] = 1;
      CheckSizes(tf_, Extract(nodes_.input, one));
    }
    return std::make_unique<TensorFlowSession>(tf_, Extract(nodes_.input, input), nodes_.input,
                                               input.type, nodes_.output, Config(traced));
  }

 private:
  std::string Config(bool traced) const {
    if (options_.config) return *options_.config;
    const bool simple = !traced && !options_.allow_any_op && !graph_->HasControlFlow();
    return SessionConfig(options_.threads, simple, options_.precision == "bfloat16");
  }

  const TensorFlow& tf_;
};

}  // namespace

Backend LoadTensorFlowBackend(const std::vector<std::string>& libraries) {
  const auto tf = std::make_shared<const TensorFlow>(LoadTensorFlow(libraries));
  return {"TensorFlow", tf->version, tf->path,
          [tf](const ModelFile& file, const ModelOptions& options) {
            if (options.precision == "bfloat16" && tf->version[0] == '1') {
              throw Error("TensorFlow ", tf->version, " has no bfloat16: --precision bfloat16 "
                          "needs TensorFlow 2");
            }
            return std::make_unique<TensorFlowModel>(*tf, file.graph, options);
          }};
}

}  // namespace label_image
