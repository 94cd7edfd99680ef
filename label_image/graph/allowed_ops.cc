#include "graph/allowed_ops.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "error.h"
#include "graph/graph_def.h"
#include "graph/wire.h"

namespace label_image {
namespace {

using TypeSet = uint32_t;  // a bit for each DataType

constexpr TypeSet SetOf(std::initializer_list<int> types) {
  TypeSet set = 0;
  for (int type : types) set |= TypeSet{1} << type;
  return set;
}

#define TYPES(name, ...) constexpr TypeSet k##name = SetOf({__VA_ARGS__});
#define OPS(...)
#define ATTR(...)
#define LIMIT(...)
#include "graph/allowed_ops.def"
#undef TYPES
#undef OPS
#undef ATTR

struct Operations {
  TypeSet types;
  std::string_view names;  // separated by spaces
};

constexpr Operations kOperations[] = {
#define TYPES(...)
#define OPS(types, names) {k##types, names},
#define ATTR(...)
#include "graph/allowed_ops.def"
#undef OPS
#undef ATTR
};

struct Range {
  std::string_view attribute;
  int64_t min, max;
};

constexpr Range kRanges[] = {
#define OPS(...)
#define ATTR(name, min, max) {#name, min, max},
#include "graph/allowed_ops.def"
#undef TYPES
#undef OPS
#undef ATTR
#undef LIMIT
};

// Return the types that an operation may have, or 0 if it is not allowed.
TypeSet AllowedTypes(std::string_view op) {
  static const auto* types = [] {
    auto* map = new std::unordered_map<std::string_view, TypeSet>;
    for (const Operations& operations : kOperations) {
      std::string_view names = operations.names;
      while (!names.empty()) {
        const size_t end = std::min(names.find(' '), names.size());
        map->emplace(names.substr(0, end), operations.types);
        names.remove_prefix(std::min(end + 1, names.size()));
      }
    }
    return map;
  }();
  const auto entry = types->find(op);
  return entry == types->end() ? 0 : entry->second;
}

bool Contains(TypeSet types, uint64_t type) { return type < 32 && types >> type & 1; }

std::string In(std::string_view attribute) { return " in attribute " + Quote(attribute); }

void CheckInteger(std::string_view attribute, uint64_t bits) {
  const auto value = static_cast<int64_t>(bits);
  for (const Range& range : kRanges) {
    if (attribute != range.attribute) continue;
    if (value >= range.min && value <= range.max) return;
    throw Error("has ", value, In(attribute), ", which must be from ", range.min, " to ",
                range.max);
  }
  throw Error("has a number", In(attribute), ", which is not known");
}

void CheckType(TypeSet types, std::string_view attribute, uint64_t type) {
  if (attribute == "Tpaddings") {
    types = kPADDINGS;
  } else if (attribute != "T") {
    types |= kINDEX;
  }
  if (Contains(types, type)) return;
  throw Error("has type ", type, In(attribute), ", which is not allowed");
}

void CheckShape(std::string_view attribute, std::string_view message) {
  int64_t rank = 0, count = 1;
  for (std::string_view dimension : wire::AllBytes(message, kShapeDim)) {
    const auto size = static_cast<int64_t>(wire::LastVarint(dimension, kDimSize));
    bool possible = size >= -1 && size <= kMaxElements && ++rank <= kMaxRank;
    if (possible && size != -1) count *= size;  // both are small enough not to overflow
    if (!possible || count > kMaxElements) throw Error("has an impossible shape", In(attribute));
  }
}

// Check a field of an AttrValue or of the list in one, which number these alike.
void CheckField(const Node& node, std::string_view attribute, const wire::Field& field) {
  switch (field.number) {
    case kAttrString:
    case kAttrFloat:
    case kAttrBool: return;
    case kAttrInt: return CheckInteger(attribute, field.AsVarint());
    case kAttrType: return CheckType(AllowedTypes(node.op), attribute, field.AsVarint());
    case kAttrShape: return CheckShape(attribute, field.AsBytes());
    case kAttrTensor:
      if (node.op == "Const" && attribute == "value") return;
  }
  throw Error("has a value of an unknown kind", In(attribute));
}

void CheckList(const Node& node, std::string_view attribute, std::string_view list) {
  wire::Field field;
  for (wire::Reader reader(list); reader.Next(&field);) {
    if (field.type == wire::kBytes && (field.number == kAttrInt || field.number == kAttrType)) {
      const uint32_t number = field.number;
      const std::string packed = wire::Writer().Bytes(number, field.bytes).str();
      for (uint64_t value : wire::AllVarints(packed, number)) {
        CheckField(node, attribute, {number, wire::kVarint, value, {}});
      }
    } else if (field.number != kAttrList) {
      CheckField(node, attribute, field);
    }
  }
}

}  // namespace

bool IsAllowedInInference(std::string_view op) { return AllowedTypes(op) != 0; }

int64_t CheckNode(const Node& node) {
  if (static_cast<int64_t>(node.inputs.size()) > kMaxInputs) {
    throw Error("has ", node.inputs.size(), " inputs, more than ", kMaxInputs);
  }
  auto attributes = node.attributes;
  std::sort(attributes.begin(), attributes.end());
  for (const auto& [attribute, value] : attributes) {
    if (IsInternal(attribute)) continue;
    wire::Field field;
    int fields = 0;
    for (wire::Reader reader(value); reader.Next(&field);) {
      if (fields++) throw Error("has two values", In(attribute));  // protobuf would join them
      if (field.number == kAttrList) {
        CheckList(node, attribute, field.AsBytes());
      } else {
        CheckField(node, attribute, field);
      }
    }
  }
  const auto tensor = node.Attribute("value", kAttrTensor);
  if (node.op != "Const" || !tensor) return 0;
  const Constant constant = ParseConstant(tensor->AsBytes());
  CheckType(kANY, "value", constant.type);
  const int64_t elements = CountElements(*constant.shape);
  // Convolutions divide by the sizes of weights. Empty lists are common.
  if (elements == 0 && constant.shape->size() != 1) throw Error("has no elements");
  if (static_cast<int64_t>(constant.shape->size()) > kMaxRank) {
    throw Error("has an impossible shape", In("value"));
  }
  return constant.content.empty() ? elements : 0;
}

void CheckConstant(const Constant& constant) {
  // Bytes per element, by DataType. 0: not fixed, or not known here.
  static constexpr int8_t kSizes[] = {0, 4, 8, 4, 1, 2, 1, 0, 8, 8, 1, 1,
                                      1, 4, 2, 2, 2, 2, 16, 2, 0, 0, 4, 8};
  if (!constant.shape) throw Error("has no shape");
  const int64_t element_size = constant.type < sizeof(kSizes) ? kSizes[constant.type] : 0;
  const int64_t bytes = constant.content.size();
  const int64_t size = CountElements(*constant.shape) * element_size;
  if (bytes > 0 && element_size > 0 && bytes != size) {
    throw Error("has ", bytes, " bytes, but its shape needs ", size);
  }
}

}  // namespace label_image
