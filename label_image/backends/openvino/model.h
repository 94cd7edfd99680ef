// Frozen graphs, TensorFlow Lite, ONNX and OpenVINO's own models run by OpenVINO.
#pragma once

#include <string>
#include <vector>

#include "backends/backend.h"

namespace label_image {

// Load OpenVINO; see LoadLibrary. Throws Error.
Backend LoadOpenVinoBackend(const std::vector<std::string>& libraries);

}  // namespace label_image
