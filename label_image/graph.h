// A frozen graph (a GraphDef file): read, cut down to what inference needs, and checked.
//
// TensorFlow only ever gets what `Cut` returns: the nodes between the fed input and the output.
// What training left elsewhere in the file (queues, losses, savers) never reaches it.

#ifndef LABEL_IMAGE_GRAPH_H_
#define LABEL_IMAGE_GRAPH_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace label_image {

// TensorFlow's DataType of what we feed and fetch.
enum DataType { kFloat = 1, kUint8 = 4, kString = 7 };

struct Node {
  std::string_view name, op;
  std::vector<std::string_view> inputs;  // "node", "node:1" or "^node"
  std::vector<std::pair<std::string_view, std::string_view>> attributes;  // AttrValues
};

// Sizes of the dimensions of a tensor, -1 where not known.
using Shape = std::vector<int64_t>;

class Graph {
 public:
  // Reads a GraphDef. `path` names it in messages. Throws Failure where it is none.
  Graph(std::string bytes, std::string path);

  const std::string& path() const { return path_; }
  const std::vector<Node>& nodes() const { return nodes_; }

  // The node of that name, or nullptr.
  const Node* Find(std::string_view name) const;
  // The same; throws Failure, naming the nearest, where there is none.
  const Node& Get(std::string_view name) const;

  // The DataType of a node's first output as its attributes say; 0 where they do not.
  int Type(const Node& node) const;
  // The shape of a node's first output as its attributes say; false where they do not.
  bool GivenShape(const Node& node, Shape* shape) const;

  // The strings of the Const `labels`; empty where there is none. Throws Failure where it is
  // something else.
  std::vector<std::string> Labels() const;

  // Whether the output is, possibly through Identity, that of a Softmax.
  bool IsSoftmax(std::string_view output) const;

  // Whether there is a Switch or Merge anywhere.
  bool HasControlFlow() const;

  // A GraphDef of the nodes from `input`, which becomes a Placeholder of `type` and `shape`, to
  // `output`. Device placements and colocations are left out: they speak of training's machines.
  // Throws Failure where `output` does not depend on `input`, where something is missing, and,
  // unless `any_op`, where there is an operation that does not belong in inference.
  std::string Cut(std::string_view input, int type, const Shape& shape, std::string_view output,
                  bool any_op) const;

 private:
  std::string Quoted(std::string_view name) const;
  void Check(const std::vector<const Node*>& nodes, std::string_view input,
             std::string_view output) const;

  std::unique_ptr<const std::string> bytes_;  // what the views point into
  std::string path_;
  std::vector<Node> nodes_;
  std::unordered_map<std::string_view, size_t> index_;
  std::vector<std::string_view> library_;  // FunctionDefLibrary
  std::string versions_;                   // the fields `version` and `versions`, as read
};

}  // namespace label_image

#endif  // LABEL_IMAGE_GRAPH_H_
