#include "feed.h"

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <map>

#include "error.h"
#include "graph/graph.h"
#include "graph/graph_def.h"

namespace label_image {
namespace {

// Return `value` as the bytes of a tensor of `type`.
std::string Content(const std::string& feed, int type, const std::string& value) {
  char* end = nullptr;
  errno = 0;
  const double number = value == "true" ? 1 : value == "false" ? 0 : strtod(value.c_str(), &end);
  const auto as = [number](auto typed) {
    typed = static_cast<decltype(typed)>(number);
    return std::string(reinterpret_cast<const char*>(&typed), sizeof(typed));
  };
  const bool is_number = !value.empty() && (!end || !*end) && !errno;
  if (is_number && type == kFloat) return as(float());
  if (is_number && type == kDouble) return as(double());
  const bool is_integer = number == std::trunc(number) && std::abs(number) < 2e9;
  if (is_number && type == kInt32 && is_integer) return as(int32_t());
  if (is_number && type == kBool && (number == 0 || number == 1)) return as(bool());
  throw UsageError("--feed=", OneLine(feed, 100), ": the value must be ",
                   type == kBool ? "true or false" : type == kInt32 ? "an integer" : "a number");
}

std::string Attribute(std::string_view key, const std::string& value) {
  return wire::Writer().Bytes(kMapKey, key).Bytes(kMapValue, value).str();
}

std::string WriteConstant(const Graph& graph, const Node& node, const std::string& feed,
                          const std::string& value) {
  const int type = graph.OutputType(node);
  const Shape sizes = graph.OutputShape(node).value_or(Shape());
  wire::Writer shape, written;
  for (size_t i = 0; i < sizes.size(); ++i) {
    shape.Bytes(kShapeDim, wire::Writer().Varint(kDimSize, 1).str());
  }
  if (!graph.IsOneValue(node)) {
    throw Error("--feed=", OneLine(feed, 100), ": only a placeholder of one number or bool can be "
                "fed with a value");
  }
  const std::string tensor = wire::Writer()
                                 .Varint(kTensorType, type)
                                 .Bytes(kTensorShape, shape.str())
                                 .Bytes(kTensorContent, Content(feed, type, value))
                                 .str();
  return written.Bytes(kNodeName, node.name)
      .Bytes(kNodeOp, "Const")
      .Bytes(kNodeAttr, Attribute("dtype", wire::Writer().Varint(kAttrType, type).str()))
      .Bytes(kNodeAttr, Attribute("value", wire::Writer().Bytes(kAttrTensor, tensor).str()))
      .str();
}

}  // namespace

std::string Feed(std::string bytes, const std::string& path,
                 const std::vector<std::string>& feeds) {
  if (feeds.empty()) return bytes;
  const Graph graph(bytes, path);
  std::map<std::string, std::string, std::less<>> constants;  // by node
  for (const std::string& feed : feeds) {
    const size_t equals = feed.find('=');
    if (equals == feed.npos) {
      throw UsageError("--feed must be NAME=VALUE, such as keep_prob=1, not ", Quote(feed));
    }
    std::string name = feed.substr(0, equals);
    name = name.substr(0, name.rfind(":0"));
    const Node& node = graph.Get(name);
    if (constants.count(name)) throw UsageError("--feed gives ", Quote(name), " twice");
    if (!IsPlaceholder(node)) {
      throw Error(path, ": node ", Quote(name), " is not a placeholder: --feed cannot set it");
    }
    constants[name] = WriteConstant(graph, node, feed, feed.substr(equals + 1));
  }
  std::string changed;
  wire::Field field;
  for (wire::Reader reader(bytes); reader.Next(&field);) {
    wire::Writer writer;
    if (field.type == wire::kVarint) {
      writer.Varint(field.number, field.value);
    } else if (field.type == wire::kBytes) {
      const auto constant = field.number == kGraphNode
                                ? constants.find(wire::LastBytes(field.bytes, kNodeName))
                                : constants.end();
      writer.Bytes(field.number, constant == constants.end() ? field.bytes
                                                             : std::string_view(constant->second));
    }
    changed += writer.str();
  }
  return changed;
}

}  // namespace label_image
