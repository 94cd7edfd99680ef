#include "inference/nodes.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "error.h"

namespace label_image {
namespace {

using NodeList = std::vector<const Node*>;

template <size_t size>
bool IsOneOf(std::string_view name, const std::string_view (&names)[size]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool ReturnsIndices(const Node& node) {
  static constexpr std::string_view kOps[] = {"ArgMax", "TopK", "TopKV2"};
  return IsOneOf(node.op, kOps);
}

bool HasFloats(const Graph& graph, const Node& node) {
  static constexpr std::string_view kWithoutFloats[] = {
      "Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual", "InTopK", "InTopKV2",
      "Shape", "ShapeN", "Size", "Rank", "Assert", "NoOp"};
  const int type = graph.OutputType(node);
  return node.op == "Dequantize" ||
         ((type == kFloat || type == kHalf || type == kDouble || type == 0) &&
          !IsOneOf(node.op, kWithoutFloats));
}

const Node* FirstInput(const Graph& graph, const Node& node) {
  return node.inputs.empty() ? nullptr : graph.Find(NodeName(node.inputs[0]));
}

// Return the node that is named `name` or "`name`:0". Throws Error.
const Node& Named(const Graph& graph, const std::string& flag, const std::string& name) {
  const size_t colon = name.rfind(':');
  if (colon != name.npos && name.substr(colon) != ":0") {
    throw UsageError("--", flag, "=", OneLine(name, 100),
                     ": only the first output of a node, NAME or NAME:0, can be used");
  }
  return graph.Get(name.substr(0, colon));
}

bool IsFed(const Node& node) { return IsPlaceholder(node) && node.inputs.empty(); }

// Return the only reader of `node` if that decodes images, else `node`.
const Node* Decoder(const Graph& graph, const Node* node) {
  const Node* decoder = nullptr;
  for (const Node& reader : graph.nodes()) {
    for (std::string_view source : reader.inputs) {
      if (NodeName(source) != node->name) continue;
      if (!DecodesImages(reader) || decoder) return node;
      decoder = &reader;
    }
  }
  return decoder ? decoder : node;
}

bool Contains(const std::string& text, std::initializer_list<const char*> parts) {
  return std::any_of(parts.begin(), parts.end(), [&text](const char* part) {
    return text.find(part) != text.npos;
  });
}

// Return the value of a placeholder of one number or bool that its name tells, or "".
std::string ValueInInference(const Graph& graph, const Node& node) {
  std::string name(node.name);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  });
  if (!IsPlaceholder(node) || !graph.IsOneValue(node)) return "";
  const int type = graph.OutputType(node);
  if (type == kBool && Contains(name, {"train", "phase", "learning"})) return "false";
  if (type == kFloat && Contains(name, {"keep"})) return "1";
  return type == kFloat && Contains(name, {"drop"}) ? "0" : "";
}

bool HoldsVariable(const Graph& graph, const Node& node) {
  static constexpr std::string_view kOps[] = {"Variable", "VariableV2", "VarHandleOp",
                                              "ReadVariableOp", "AutoReloadVariable"};
  return IsOneOf(node.op, kOps) || (IsFed(node) && graph.OutputType(node) == kResource);
}

// Return the unfed placeholders in `placeholders` that images can be fed to: not switches such as
// is_training, nor numbers such as keep_prob, if there are others. Several: the only one of rank 4.
NodeList ImagePlaceholders(const Graph& graph, const NodeList& placeholders) {
  NodeList open, shaped, images;
  for (const Node* node : placeholders) {
    const int type = graph.OutputType(*node);
    if (type == kBool || type == kResource) continue;
    const auto shape = graph.OutputShape(*node);
    open.push_back(node);
    if (type == kString || !shape || shape->size() > 1) shaped.push_back(node);
    if (shape && shape->size() == 4) images.push_back(node);
  }
  if (images.size() == 1) return images;
  return shaped.empty() ? open : shaped;
}

NodeList InOrder(NodeList nodes) {
  std::sort(nodes.begin(), nodes.end());  // the addresses are in the order of the graph
  return nodes;
}

// Return the nodes that depend on `start`, with these, in the order of the graph.
NodeList Downstream(const Graph& graph, const NodeList& start) {
  std::unordered_map<std::string_view, NodeList> readers;
  for (const Node& node : graph.nodes()) {
    for (std::string_view source : node.inputs) readers[NodeName(source)].push_back(&node);
  }
  std::unordered_set<const Node*> visited(start.begin(), start.end());
  for (NodeList stack = start; !stack.empty();) {
    const Node* node = stack.back();
    stack.pop_back();
    for (const Node* reader : readers[node->name]) {
      if (visited.insert(reader).second) stack.push_back(reader);
    }
  }
  return InOrder({visited.begin(), visited.end()});
}

// Return the nodes with floats that depend on `inputs` and that nothing else reads. If there are
// several and an ArgMax reads one of them or what it reads: that one.
NodeList Sinks(const Graph& graph, const NodeList& inputs) {
  std::unordered_set<std::string_view> read, chosen;
  for (const Node& node : graph.nodes()) {
    if (ReturnsIndices(node)) continue;
    for (std::string_view source : node.inputs) read.insert(NodeName(source));
  }
  const NodeList downstream = Downstream(graph, inputs);
  NodeList sinks, classified;
  for (const Node* node : downstream) {
    if (ReturnsIndices(*node)) {
      if (!node->inputs.empty()) chosen.insert(NodeName(node->inputs[0]));
    } else if (!read.count(node->name) && !IsPlaceholder(*node) && HasFloats(graph, *node)) {
      sinks.push_back(node);
    }
  }
  std::copy_if(sinks.begin(), sinks.end(), std::back_inserter(classified), [&](const Node* node) {
    return chosen.count(node->name) ||
           (!node->inputs.empty() && chosen.count(NodeName(node->inputs[0])));
  });
  return sinks.size() > 1 && classified.size() == 1 ? classified : sinks;
}

NodeList OutputCandidates(const Graph& graph, const std::string& name, const NodeList& inputs) {
  if (!name.empty()) {
    const Node& node = Named(graph, "output", name);
    if (!ReturnsIndices(node)) return {&node};
    const Node* source = FirstInput(graph, node);
    throw Error(graph.path(), ": node ", Quote(name), " returns only a class index (",
                OneLine(node.op, 50), "): name its input instead",
                source ? Concat(", --output ", OneLine(source->name, 100)) : "");
  }
  const Node *predictions = graph.Find("predictions"), *probabilities = graph.Find("probabilities");
  if (predictions && !ReturnsIndices(*predictions)) return {predictions};
  if (probabilities && !ReturnsIndices(*probabilities)) return {probabilities};
  return Sinks(graph, inputs);
}

// The node to feed and that to fetch; none or several: the candidates.
struct Ends {
  NodeList inputs, outputs;
};

Ends FindEnds(const Graph& graph, const std::string& input, const std::string& output) {
  const Node* fed = !input.empty() ? &Named(graph, "node", input) : graph.Find("images");
  if (!fed) fed = graph.Find("inputs");
  if (fed) return {{fed}, OutputCandidates(graph, output, {fed})};
  NodeList placeholders;
  for (const Node& node : graph.nodes()) {
    if (IsFed(node)) placeholders.push_back(&node);
  }
  Ends ends;
  ends.outputs = OutputCandidates(graph, output, ImagePlaceholders(graph, placeholders));
  placeholders.clear();
  for (const Node* node : InOrder(Upstream(graph, ends.outputs, nullptr))) {
    if (IsFed(*node)) placeholders.push_back(node);
  }
  ends.inputs = ImagePlaceholders(graph, placeholders);
  if (ends.inputs.size() == 1 && ends.outputs.size() > 1) {
    ends.outputs = OutputCandidates(graph, output, ends.inputs);
  }
  return ends;
}

std::vector<std::string> Names(const NodeList& nodes) {
  std::vector<std::string> names;
  for (const Node* node : nodes) names.emplace_back(node->name);
  return names;
}

// List the placeholders other than `fed` that `outputs` depend on. Throws Error if the graph is not
// frozen.
void ListOthers(const Graph& graph, const NodeList& outputs, const Node* fed, Nodes* nodes) {
  for (const Node* node : InOrder(Upstream(graph, outputs, fed))) {
    if (node == fed) continue;
    if (HoldsVariable(graph, *node)) {
      throw Error(graph.path(), " is not frozen, its weights are in a checkpoint: ",
                  OneLine(node->op, 50), " ", Quote(node->name),
                  ": freeze both with python -m tensorflow.python.tools.freeze_graph");
    }
    const std::string value = ValueInInference(graph, *node);
    if (!value.empty()) {
      nodes->assumed.push_back(Concat(node->name, "=", value));
      continue;
    }
    if (node->op == "PlaceholderWithDefault") nodes->defaults.emplace_back(node->name);
    if (IsFed(*node)) {
      if (!graph.IsOneValue(*node)) {
        throw Error(graph.path(), " needs placeholder ", Quote(node->name),
                    " too, which is not one number or bool: export a graph with one input");
      }
      nodes->missing_flags.push_back("--feed " + OneLine(node->name, 50) + "=VALUE");
    }
  }
  std::sort(nodes->defaults.begin(), nodes->defaults.end());
  std::sort(nodes->assumed.begin(), nodes->assumed.end());
}

}  // namespace

std::string Candidates(const std::vector<std::string>& names) {
  constexpr size_t kMax = 8;
  std::string list;
  for (size_t i = 0; i < std::min(names.size(), kMax); ++i) {
    list += (i ? ", " : "") + OneLine(names[i], 50);
  }
  if (names.size() > kMax) list += ", ...";
  return "(candidates: " + (names.empty() ? "none" : list) + ")";
}

std::string MissingFlag(const std::string& flag, const std::vector<std::string>& names) {
  return "--" + flag + " NAME " + Candidates(names);
}

Nodes FindNodes(const Graph& graph, const std::string& input, const std::string& output) {
  const auto [inputs, outputs] = FindEnds(graph, input, output);
  Nodes nodes;
  if (inputs.size() != 1) nodes.missing_flags.push_back(MissingFlag("node", Names(inputs)));
  if (outputs.size() != 1) nodes.missing_flags.push_back(MissingFlag("output", Names(outputs)));
  if (outputs.size() == 1) nodes.output = outputs[0]->name;
  if (inputs.size() == 1) nodes.input = inputs[0]->name;
  if (!nodes.missing_flags.empty()) return nodes;
  const Node* fed = Decoder(graph, inputs[0]);
  nodes.input = fed->name;
  nodes.own = nodes.input == "images";
  ListOthers(graph, outputs, fed, &nodes);
  return nodes;
}

const Node* FindSource(const Graph& graph, const std::string& output) {
  static constexpr std::string_view kOps[] = {
      "Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "Cast", "StopGradient",
      "CheckNumerics", "EnsureShape", "Snapshot", "PreventGradient"};
  const Node* node = graph.Find(output);
  for (size_t i = 0; node && IsOneOf(node->op, kOps); ++i) {
    if (i == graph.nodes().size()) return nullptr;  // a cycle
    node = FirstInput(graph, *node);
  }
  return node;
}

std::string TypeName(int type) {
  switch (type) {
    case kFloat: return "float32";
    case kDouble: return "float64";
    case kHalf: return "float16";
    case kUint8: return "uint8";
    case kInt8: return "int8";
    case kInt32: return "int32";
    case kInt64: return "int64";
    case kBool: return "bool";
    case kString: return "string";
    case -1: return "unknown";
    default: return Concat("number ", type);
  }
}

std::string ShapeText(const Shape& shape, bool batched) {
  std::string text;
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") +
            (shape[i] >= 0 ? std::to_string(shape[i]) : i || !batched ? "?" : "N");
  }
  return "[" + text + "]";
}

}  // namespace label_image
