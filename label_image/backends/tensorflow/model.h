// Frozen graphs (GraphDef files) run by TensorFlow: their nodes found and their operations checked.
#pragma once

#include <string>
#include <vector>

#include "backends/backend.h"

namespace label_image {

// Load TensorFlow; see LoadTensorFlow. Throws Error.
Backend LoadTensorFlowBackend(const std::vector<std::string>& libraries);

}  // namespace label_image
