// LiteRT's tensors: their types and shapes, and memory for them.
#pragma once

#include "backends/backend.h"
#include "backends/litert/api.h"

namespace label_image {

// Return the type (-1: another one) and the shape of a tensor.
InputInfo ReadInfo(const LiteRtRankedTensorType& type);

// Return a tensor of the element type of `type` and of `shape`, in memory of this program. Throws
// Error.
Tensor NewTensor(const LiteRt& litert, const LiteRtRankedTensorType& type, const Shape& shape);

}  // namespace label_image
