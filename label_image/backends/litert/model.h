// TensorFlow Lite models (.tflite) run by LiteRT with XNNPACK.
#pragma once

#include <string>
#include <vector>

#include "backends/backend.h"

namespace label_image {

// Load LiteRT; see LoadLibrary. Throws Error.
Backend LoadLiteRtBackend(const std::vector<std::string>& libraries);

}  // namespace label_image
