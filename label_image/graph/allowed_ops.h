// The operations, attributes and sizes that a graph from someone else may have. See
// allowed_ops.def.
#pragma once

#include <cstdint>
#include <string_view>

#include "graph/graph.h"

namespace label_image {

#define TYPES(...)
#define OPS(...)
#define ATTR(...)
#define LIMIT(name, value) constexpr int64_t name = value;
#include "graph/allowed_ops.def"
#undef TYPES
#undef OPS
#undef ATTR
#undef LIMIT

bool IsAllowedInInference(std::string_view op);

// Return whether an attribute is TensorFlow's own note on a node, such as `_class` or `_kernel`.
inline bool IsInternal(std::string_view attribute) { return attribute.substr(0, 1) == "_"; }

// Return how many elements the constant of an allowed operation takes in memory but not in the
// file, because it repeats a value. Throws Error if the node exceeds a limit. Call CheckConstant
// first.
int64_t CheckNode(const Node& node);

// Throw Error if a constant does not fit its shape.
void CheckConstant(const Constant& constant);

}  // namespace label_image
