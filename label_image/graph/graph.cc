#include "graph/graph.h"

#include <algorithm>
#include <unordered_set>

#include "did_you_mean.h"
#include "error.h"
#include "graph/allowed_ops.h"
#include "graph/graph_def.h"

namespace label_image {
namespace {

Node ParseNode(std::string_view message) {
  Node node;
  wire::Field field;
  for (wire::Reader reader(message); reader.Next(&field);) {
    switch (field.number) {
      case kNodeName: node.name = field.AsBytes(); break;
      case kNodeOp: node.op = field.AsBytes(); break;
      case kNodeInput: node.inputs.push_back(field.AsBytes()); break;
      case kNodeAttr:
        node.attributes.emplace_back(wire::LastBytes(field.AsBytes(), kMapKey),
                                     wire::LastBytes(field.AsBytes(), kMapValue));
        break;
    }
  }
  if (node.name.empty() || node.op.empty()) throw Error("a node has no name or operation");
  return node;
}

// Parse a TensorShapeProto. Returns nothing if the rank is unknown.
std::optional<Shape> ParseShape(std::string_view message) {
  Shape shape;
  wire::Field field;
  for (wire::Reader reader(message); reader.Next(&field);) {
    if (field.number == kShapeUnknownRank && field.AsVarint()) return std::nullopt;
    if (field.number != kShapeDim) continue;
    shape.push_back(static_cast<int64_t>(wire::LastVarint(field.AsBytes(), kDimSize)));
  }
  return shape;
}

}  // namespace

std::optional<wire::Field> Node::Attribute(std::string_view attribute, uint32_t number) const {
  std::string_view last;
  for (const auto& [key, value] : attributes) {
    if (key == attribute) last = value;
  }
  return wire::LastField(last, number);
}

std::string_view NodeName(std::string_view input) {
  if (!input.empty() && input[0] == '^') return input.substr(1);
  return input.substr(0, input.rfind(':'));
}

bool IsPlaceholder(const Node& node) { return node.op.substr(0, 11) == "Placeholder"; }

bool DecodesImages(const Node& node) {
  return node.op == "DecodeJpeg" || node.op == "DecodePng" || node.op == "DecodeBmp" ||
         node.op == "DecodeImage";
}

int64_t CountElements(const Shape& shape) {
  if (shape.size() > 254) throw Error("has too many dimensions");
  int64_t count = 1;
  for (int64_t size : shape) {
    if (size < 0 || size > kMaxConstant) throw Error("has an impossible shape");
    count *= size;
    if (count > kMaxConstant) throw Error("has an impossible shape");
  }
  return count;
}

Constant ParseConstant(std::string_view message) {
  Constant constant;
  wire::Field field;
  int shapes = 0;
  for (wire::Reader reader(message); reader.Next(&field);) {
    switch (field.number) {
      case kTensorType: constant.type = field.AsVarint(); break;
      case kTensorShape:
        if (shapes++) throw Error("has two shapes");  // protobuf would join them
        constant.shape = ParseShape(field.AsBytes());
        break;
      case kTensorContent: constant.content = field.AsBytes(); break;
      case kTensorString: constant.strings.push_back(field.AsBytes()); break;
    }
  }
  return constant;
}

Graph::Graph(std::string bytes, std::string path)
    : bytes_(new std::string(std::move(bytes))), path_(std::move(path)) {
  try {
    Parse();
  } catch (const Error& error) {
    throw Error(path_, " is not a complete frozen graph (GraphDef): ", error.what());
  }
}

void Graph::Parse() {
  wire::Field field;
  for (wire::Reader reader(*bytes_); reader.Next(&field);) {
    switch (field.number) {
      case kGraphNode: nodes_.push_back(ParseNode(field.AsBytes())); break;
      case kGraphLibrary: libraries_.push_back(field.AsBytes()); break;
      case kGraphVersion:
        versions_ += wire::Writer().Varint(kGraphVersion, field.AsVarint()).str();
        break;
      case kGraphVersions:
        versions_ += wire::Writer().Bytes(kGraphVersions, field.AsBytes()).str();
        break;
    }
  }
  if (nodes_.empty()) throw Error("it has no nodes");
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const std::string_view name = nodes_[i].name;
    if (!index_.emplace(name, i).second) throw Error("two nodes are named ", Quote(name));
  }
}

const Node* Graph::Find(std::string_view name) const {
  const auto entry = index_.find(name);
  return entry == index_.end() ? nullptr : &nodes_[entry->second];
}

const Node& Graph::Get(std::string_view name) const {
  if (const Node* node = Find(name)) return *node;
  std::vector<std::string> names;
  for (const Node& node : nodes_) names.emplace_back(OneLine(node.name, 101));
  throw Error(path_, " has no node ", Quote(name), DidYouMean(name, names));
}

int Graph::OutputType(const Node& node) const {
  for (const char* attribute : {"dtype", "T", "DstT"}) {
    if (const auto type = node.Attribute(attribute, kAttrType)) {
      return static_cast<int>(std::min<uint64_t>(type->AsVarint(), 1000));
    }
  }
  return DecodesImages(node) ? kUint8 : 0;
}

bool Graph::IsOneValue(const Node& node) const {
  const int type = OutputType(node);
  const Shape shape = OutputShape(node).value_or(Shape());
  return (type == kFloat || type == kDouble || type == kInt32 || type == kBool) &&
         std::all_of(shape.begin(), shape.end(), [](int64_t size) { return size == 1; });
}

std::optional<Shape> Graph::OutputShape(const Node& node) const {
  if (DecodesImages(node)) {
    const auto channels = node.Attribute("channels", kAttrInt);
    const auto count = static_cast<int64_t>(channels ? channels->AsVarint() : 0);
    if (count > 3) return Shape{-1, -1, -1, count};  // [-1, -1, 4] would be grey images of width 4
    return Shape{-1, -1, count ? count : 3};  // 0: as many as there are in the file
  }
  if (const auto shape = node.Attribute("shape", kAttrShape)) {
    return ParseShape(shape->AsBytes());
  }
  // TensorFlow's add_shapes option writes a list with the shape of each output.
  const auto list = node.Attribute("_output_shapes", kAttrList);
  if (!list) return std::nullopt;
  const auto shapes = wire::AllBytes(list->AsBytes(), kListShape);
  return shapes.empty() ? std::nullopt : ParseShape(shapes[0]);
}

int64_t Graph::producer() const {
  int64_t producer = 0;
  wire::Field field;
  for (wire::Reader reader(versions_); reader.Next(&field);) {
    if (field.number == kGraphVersion) producer = field.AsVarint();
    if (field.number != kGraphVersions) continue;
    wire::Field inner;
    for (wire::Reader versions(field.AsBytes()); versions.Next(&inner);) {
      if (inner.number == kVersionsProducer) producer = inner.AsVarint();
    }
  }
  return producer;
}

std::vector<std::string> Graph::Labels() const {
  const Node* node = Find("labels");
  const auto tensor = node ? node->Attribute("value", kAttrTensor) : std::nullopt;
  // Else it is something else of this name, such as a placeholder for the labels of a batch.
  if (!tensor || node->op != "Const" || OutputType(*node) != kString) return {};
  std::vector<std::string> labels;
  try {
    const Constant constant = ParseConstant(tensor->AsBytes());
    for (std::string_view label : constant.strings) {
      labels.push_back(OneLine(label, kMaxClassName));
    }
    if (constant.type != kString || !constant.shape || constant.shape->size() != 1 ||
        CountElements(*constant.shape) != static_cast<int64_t>(labels.size())) {
      throw Error("is not a list of strings");
    }
  } catch (const Error& error) {
    throw Error(path_, ": node 'labels' ", error.what(), ": give --labels FILE");
  }
  return labels;
}

bool Graph::HasControlFlow() const {
  return std::any_of(nodes_.begin(), nodes_.end(), [](const Node& node) {
    return node.op == "Switch" || node.op == "Merge";
  });
}

std::vector<const Node*> Upstream(const Graph& graph, const std::vector<const Node*>& outputs,
                                  const Node* input) {
  std::vector<const Node*> nodes, stack = outputs;
  std::unordered_set<const Node*> visited(outputs.begin(), outputs.end());
  while (!stack.empty()) {
    const Node* node = stack.back();
    stack.pop_back();
    nodes.push_back(node);
    if (node == input) continue;
    for (std::string_view source : node->inputs) {
      const Node* next = graph.Find(NodeName(source));
      if (next && visited.insert(next).second) stack.push_back(next);
    }
  }
  return nodes;
}

}  // namespace label_image
