// ONNX models (.onnx) run by ONNX Runtime.
#pragma once

#include <string>
#include <vector>

#include "backends/backend.h"

namespace label_image {

// Load ONNX Runtime; see LoadLibrary. Throws Error.
Backend LoadOnnxRuntime(const std::vector<std::string>& libraries);

}  // namespace label_image
