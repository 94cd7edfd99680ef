// A frozen graph: parsed from a GraphDef file, and what can be read from it without TensorFlow.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "graph/wire.h"

namespace label_image {

// TensorFlow's DataType values of the tensors that are fed, fetched and read here.
enum DataType {
  kFloat = 1, kDouble = 2, kInt32 = 3, kUint8 = 4, kInt8 = 6, kString = 7, kInt64 = 9, kBool = 10,
  kHalf = 19, kResource = 20
};

// The sizes of the dimensions of a tensor; -1: unknown.
using Shape = std::vector<int64_t>;

struct Node {
  std::string_view name, op;
  std::vector<std::string_view> inputs;  // "node", "node:1" or "^node"
  std::vector<std::pair<std::string_view, std::string_view>> attributes;  // AttrValue messages

  // Return a field of the AttrValue of an attribute, if the node has it.
  std::optional<wire::Field> Attribute(std::string_view attribute, uint32_t number) const;
};

// Return the name of the node in an input.
std::string_view NodeName(std::string_view input);

bool IsPlaceholder(const Node& node);

// Return whether a node makes pixels of an encoded image.
bool DecodesImages(const Node& node);

// Return the number of elements of a tensor. Throws Error if the shape is absurd: TensorFlow 1.15
// aborts the process on some such shapes.
int64_t CountElements(const Shape& shape);

// The fields of a TensorProto that are read here.
struct Constant {
  uint64_t type = 0;
  std::optional<Shape> shape = Shape();  // nothing: the rank is unknown
  std::string_view content;
  std::vector<std::string_view> strings;
};

Constant ParseConstant(std::string_view message);

class Graph {
 public:
  // Parse a GraphDef. `path` names it in messages. Throws Error.
  Graph(std::string bytes, std::string path);

  const std::string& path() const { return path_; }
  const std::string& bytes() const { return *bytes_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  // The FunctionDefLibrary messages.
  const std::vector<std::string_view>& libraries() const { return libraries_; }
  // The fields `version` and `versions`, serialized.
  const std::string& versions() const { return versions_; }
  // The version of GraphDef that its writer had; 0: before there were versions.
  int64_t producer() const;

  // Return the node with a name, or nullptr.
  const Node* Find(std::string_view name) const;
  // The same, but throws Error, with the closest name, if there is no such node.
  const Node& Get(std::string_view name) const;

  // Return the DataType of the first output of a node, or 0 if its attributes do not define it.
  int OutputType(const Node& node) const;
  // Return the shape of the first output of a node, if its attributes define it.
  std::optional<Shape> OutputShape(const Node& node) const;

  // Return whether the first output of a node is one float, double, int32 or bool, as far as its
  // attributes tell.
  bool IsOneValue(const Node& node) const;

  // Return the strings in the Const `labels`, or nothing if there is no such Const. Throws Error if
  // it is damaged.
  std::vector<std::string> Labels() const;

  // Return whether any node is a Switch or Merge.
  bool HasControlFlow() const;

 private:
  void Parse();

  std::unique_ptr<const std::string> bytes_;  // the views point into it
  std::string path_;
  std::vector<Node> nodes_;
  std::unordered_map<std::string_view, size_t> index_;  // by name
  std::vector<std::string_view> libraries_;
  std::string versions_;
};

// Return what `outputs` depend on, with these, but not what only `input` depends on (nullptr: all).
// Inputs that the graph lacks are skipped.
std::vector<const Node*> Upstream(const Graph& graph, const std::vector<const Node*>& outputs,
                                  const Node* input);

}  // namespace label_image
