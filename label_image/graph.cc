#include "graph.h"

#include <algorithm>
#include <unordered_set>

#include "error.h"
#include "nearest.h"
#include "ops.h"
#include "wire.h"

namespace label_image {
namespace {

// Field numbers of TensorFlow's .proto files, which never change.
enum GraphDefField { kGraphNode = 1, kGraphLibrary = 2, kGraphVersion = 3, kGraphVersions = 4 };
enum NodeDefField { kNodeName = 1, kNodeOp = 2, kNodeInput = 3, kNodeAttr = 5 };
enum MapField { kMapKey = 1, kMapValue = 2 };
enum AttrValueField { kAttrList = 1, kAttrType = 6, kAttrShape = 7, kAttrTensor = 8 };
enum ListValueField { kListShape = 7 };
enum ShapeField { kShapeDim = 2, kShapeUnknownRank = 3, kDimSize = 1 };
enum TensorField { kTensorType = 1, kTensorShape = 2, kTensorContent = 4, kTensorString = 8 };

// No tensor of a convnet has more: what does is a damaged file.
constexpr int64_t kMostElements = int64_t{1} << 28;

// The node in an input "node", "node:1" or "^node".
std::string_view NodeOf(std::string_view input) {
  if (!input.empty() && input[0] == '^') return input.substr(1);
  return input.substr(0, input.rfind(':'));
}

Node ParseNode(std::string_view message) {
  Node node;
  wire::Field field;
  for (wire::Reader reader(message); reader.Next(&field);) {
    switch (field.number) {
      case kNodeName: node.name = field.AsBytes(); break;
      case kNodeOp: node.op = field.AsBytes(); break;
      case kNodeInput: node.inputs.push_back(field.AsBytes()); break;
      case kNodeAttr: {
        std::string_view key, value;
        wire::Field part;
        for (wire::Reader entry(field.AsBytes()); entry.Next(&part);) {
          if (part.number == kMapKey) key = part.AsBytes();
          if (part.number == kMapValue) value = part.AsBytes();
        }
        node.attributes.emplace_back(key, value);
        break;
      }
    }
  }
  return node;
}

// The last field `number` in `message`; false where there is none.
bool Last(std::string_view message, uint32_t number, wire::Field* found) {
  bool any = false;
  wire::Field field;
  for (wire::Reader reader(message); reader.Next(&field);) {
    if (field.number == number) {
      *found = field;
      any = true;
    }
  }
  return any;
}

// The attribute's AttrValue; false where the node has none of that name.
bool Attribute(const Node& node, std::string_view name, std::string_view* value) {
  bool any = false;
  for (const auto& [key, content] : node.attributes) {
    if (key == name) {
      *value = content;
      any = true;
    }
  }
  return any;
}

// Reads a TensorShapeProto; false where even the rank is not known.
bool ParseShape(std::string_view message, Shape* shape) {
  shape->clear();
  wire::Field field;
  for (wire::Reader reader(message); reader.Next(&field);) {
    if (field.number == kShapeUnknownRank && field.AsVarint()) return false;
    if (field.number != kShapeDim) continue;
    wire::Field size;
    shape->push_back(
        Last(field.AsBytes(), kDimSize, &size) ? static_cast<int64_t>(size.AsVarint()) : 0);
  }
  return true;
}

// The number of elements of a tensor of known shape. Throws Failure where that is absurd:
// TensorFlow 1.15 aborts the process on some such shapes.
int64_t Elements(const Shape& shape) {
  if (shape.size() > 254) throw Failure("has too many dimensions");
  int64_t count = 1;
  for (int64_t size : shape) {
    if (size < 0 || size > kMostElements) throw Failure("has an impossible shape");
    count *= size;
    if (count > kMostElements) throw Failure("has an impossible shape");
  }
  return count;
}

// Bytes of an element of a DataType; 0 where not fixed, or not known here.
int64_t ElementSize(uint64_t type) {
  static constexpr int8_t kSizes[] = {0, 4, 8, 4, 1, 2, 1, 0, 8, 8, 1, 1,
                                      1, 4, 2, 2, 2, 2, 16, 2, 0, 0, 4, 8};
  return type < sizeof(kSizes) ? kSizes[type] : 0;
}

// What a Const holds must fit the shape that it says.
void CheckTensor(std::string_view tensor) {
  uint64_t type = 0;
  Shape shape;
  std::string_view content;
  wire::Field field;
  for (wire::Reader reader(tensor); reader.Next(&field);) {
    switch (field.number) {
      case kTensorType: type = field.AsVarint(); break;
      case kTensorShape:
        if (!ParseShape(field.AsBytes(), &shape)) throw Failure("has no shape");
        break;
      case kTensorContent: content = field.AsBytes(); break;
    }
  }
  const int64_t count = Elements(shape);
  const int64_t size = ElementSize(type);
  if (!content.empty() && size > 0 &&
      static_cast<int64_t>(content.size()) != count * size) {
    throw Failure(Format("has %zu bytes where its shape needs %lld", content.size(),
                         static_cast<long long>(count * size)));
  }
}

}  // namespace

Graph::Graph(std::string bytes, std::string path)
    : bytes_(new std::string(std::move(bytes))), path_(std::move(path)) {
  try {
    wire::Field field;
    for (wire::Reader reader(*bytes_); reader.Next(&field);) {
      switch (field.number) {
        case kGraphNode: nodes_.push_back(ParseNode(field.AsBytes())); break;
        case kGraphLibrary: library_.push_back(field.AsBytes()); break;
        case kGraphVersion: {
          wire::Writer writer;
          versions_ += writer.Varint(kGraphVersion, field.AsVarint()).str();
          break;
        }
        case kGraphVersions: {
          wire::Writer writer;
          versions_ += writer.Bytes(kGraphVersions, field.AsBytes()).str();
          break;
        }
      }
    }
  } catch (const Failure& failure) {
    throw Failure(path_ + " is not a whole frozen graph (GraphDef): " + failure.what());
  }
  if (nodes_.empty()) throw Failure(path_ + " is not a frozen graph (GraphDef): no nodes in it");
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].name.empty() || nodes_[i].op.empty()) {
      throw Failure(path_ + " is not a frozen graph (GraphDef): a node lacks name or operation");
    }
    if (!index_.emplace(nodes_[i].name, i).second) {
      throw Failure(path_ + " is not a good graph: two nodes are named " +
                    Quoted(nodes_[i].name));
    }
  }
}

std::string Graph::Quoted(std::string_view name) const {
  return "'" + OneLine(name, 100) + "'";
}

const Node* Graph::Find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &nodes_[found->second];
}

const Node& Graph::Get(std::string_view name) const {
  if (const Node* node = Find(name)) return *node;
  std::vector<std::string> names;
  for (const Node& node : nodes_) names.emplace_back(OneLine(node.name, 101));
  throw Failure(path_ + " has no node " + Quoted(name) + DidYouMean(name, names));
}

int Graph::Type(const Node& node) const {
  std::string_view value;
  wire::Field field;
  for (const char* name : {"dtype", "T", "DstT"}) {
    if (Attribute(node, name, &value) && Last(value, kAttrType, &field)) {
      return static_cast<int>(std::min<uint64_t>(field.AsVarint(), 1000));
    }
  }
  return 0;
}

bool Graph::GivenShape(const Node& node, Shape* shape) const {
  std::string_view value;
  wire::Field field;
  if (Attribute(node, "shape", &value) && Last(value, kAttrShape, &field)) {
    return ParseShape(field.AsBytes(), shape);
  }
  // What TensorFlow's add_shapes wrote: a list with a shape for each output.
  if (!Attribute(node, "_output_shapes", &value) || !Last(value, kAttrList, &field)) return false;
  for (wire::Reader reader(field.AsBytes()); reader.Next(&field);) {
    if (field.number == kListShape) return ParseShape(field.AsBytes(), shape);
  }
  return false;
}

std::vector<std::string> Graph::Labels() const {
  const Node* node = Find("labels");
  if (!node) return {};
  std::vector<std::string> labels;
  std::string_view value;
  wire::Field tensor, field;
  try {
    if (node->op != "Const" || !Attribute(*node, "value", &value) ||
        !Last(value, kAttrTensor, &tensor)) {
      throw Failure("is not a Const");
    }
    Shape shape;
    uint64_t type = 0;
    for (wire::Reader reader(tensor.AsBytes()); reader.Next(&field);) {
      switch (field.number) {
        case kTensorType: type = field.AsVarint(); break;
        case kTensorShape: ParseShape(field.AsBytes(), &shape); break;
        case kTensorString: labels.push_back(OneLine(field.AsBytes(), 100)); break;
      }
    }
    if (type != kString || shape.size() != 1 ||
        Elements(shape) != static_cast<int64_t>(labels.size())) {
      throw Failure("is not a list of strings");
    }
  } catch (const Failure& failure) {
    throw Failure(path_ + ": node 'labels' " + failure.what() + ": give --labels FILE");
  }
  return labels;
}

bool Graph::IsSoftmax(std::string_view output) const {
  std::unordered_set<std::string_view> seen;
  for (const Node* node = Find(output); node; node = Find(NodeOf(node->inputs[0]))) {
    if (node->op == "Softmax") return true;
    const bool passes = node->op == "Identity" || node->op == "Reshape" || node->op == "Squeeze";
    if (!passes || node->inputs.empty() || !seen.insert(node->name).second) return false;
  }
  return false;
}

bool Graph::HasControlFlow() const {
  return std::any_of(nodes_.begin(), nodes_.end(), [](const Node& node) {
    return node.op == "Switch" || node.op == "Merge";
  });
}

void Graph::Check(const std::vector<const Node*>& nodes, std::string_view input,
                  std::string_view output) const {
  std::string refused;
  for (const Node* node : nodes) {
    if (node->name == input) continue;
    if (node->op.substr(0, 11) == "Placeholder" && node->inputs.empty()) {
      throw Failure(path_ + ": " + Quoted(output) + " needs the placeholder " +
                    Quoted(node->name) + " fed too, not " + Quoted(input) + " alone");
    }
    if (AllowedInInference(node->op) || refused.size() > 200) continue;
    refused += (refused.empty() ? "" : ", ") + OneLine(node->op, 50) + " (" + Quoted(node->name) +
               ")";
  }
  if (refused.empty()) return;
  throw Failure(path_ + " has operations between " + Quoted(input) + " and " + Quoted(output) +
                " that do not belong in inference (--allow_any_op runs them all the same): " +
                refused);
}

std::string Graph::Cut(std::string_view input, int type, const Shape& shape,
                       std::string_view output, bool any_op) const {
  std::vector<const Node*> kept, waiting = {&Get(output)};
  std::unordered_set<std::string_view> seen = {waiting[0]->name};
  const std::string_view fed = Get(input).name;
  while (!waiting.empty()) {
    const Node* node = waiting.back();
    waiting.pop_back();
    kept.push_back(node);
    if (node->name == fed) continue;
    for (std::string_view source : node->inputs) {
      const Node* next = Find(NodeOf(source));
      if (!next) {
        throw Failure(path_ + " is cut off or damaged: node " + Quoted(node->name) + " needs " +
                      Quoted(source) + ", which is not in it");
      }
      if (seen.insert(next->name).second) waiting.push_back(next);
    }
  }
  if (!seen.count(fed)) {
    throw Failure(path_ + ": " + Quoted(output) + " does not depend on " + Quoted(input));
  }
  if (!any_op) Check(kept, input, output);
  wire::Writer graph;
  for (const Node* node : kept) {
    wire::Writer written;
    written.Bytes(kNodeName, node->name);
    const auto attribute = [&written](std::string_view key, std::string_view value) {
      wire::Writer entry;
      written.Bytes(kNodeAttr, entry.Bytes(kMapKey, key).Bytes(kMapValue, value).str());
    };
    if (node->name == fed) {
      wire::Writer dimensions, type_value, shape_value;
      for (int64_t size : shape) {
        wire::Writer dimension;
        dimension.Varint(kDimSize, static_cast<uint64_t>(size));
        dimensions.Bytes(kShapeDim, dimension.str());
      }
      written.Bytes(kNodeOp, "Placeholder");
      attribute("dtype", type_value.Varint(kAttrType, type).str());
      attribute("shape", shape_value.Bytes(kAttrShape, dimensions.str()).str());
    } else {
      written.Bytes(kNodeOp, node->op);
      for (std::string_view source : node->inputs) written.Bytes(kNodeInput, source);
      for (const auto& [key, value] : node->attributes) {
        // Colocation (_class) names nodes that are not kept; the shapes may be out of date.
        if (key == "_class" || key == "_output_shapes") continue;
        attribute(key, value);
      }
      std::string_view value;
      wire::Field tensor;
      try {
        if (node->op == "Const" && Attribute(*node, "value", &value) &&
            Last(value, kAttrTensor, &tensor)) {
          CheckTensor(tensor.AsBytes());
        }
      } catch (const Failure& failure) {
        throw Failure(path_ + " is damaged: Const " + Quoted(node->name) + " " + failure.what());
      }
    }
    graph.Bytes(kGraphNode, written.str());
  }
  // Allowed operations call no functions.
  for (std::string_view library : library_) {
    if (any_op) graph.Bytes(kGraphLibrary, library);
  }
  return graph.str() + versions_;
}

}  // namespace label_image
