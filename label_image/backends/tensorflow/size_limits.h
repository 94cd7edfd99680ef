// The limits of allowed_ops.def on what TensorFlow infers of an imported graph.
#pragma once

#include <string_view>

#include "backends/tensorflow/tensorflow.h"

namespace label_image {

// Throw Error if TensorFlow rejects a serialized GraphDef, if tensors or the work of the graph are
// too large, or if operations read empty tensors. An unknown size counts as 1, so feed one image.
// permafrost/evaluation/frozen_graphs/allowed_ops.py has the same rules.
void CheckSizes(const TensorFlow& tf, std::string_view graph);

}  // namespace label_image
