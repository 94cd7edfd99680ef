// Reads ONNX files (ModelProto) without a runtime.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace label_image {

// Return the class names in the metadata `labels`, one a line, or nothing.
std::vector<std::string> OnnxLabels(std::string_view model);

// Return the operation that computes the tensor `output`, under TensorFlow's name, or "".
std::string OnnxSourceOp(std::string_view model, std::string_view output);

}  // namespace label_image
