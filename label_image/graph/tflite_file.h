// What can be read of a TensorFlow Lite file without a runtime.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace label_image {

// Return the class names in labels.txt, one a line, which is attached to the model as an
// uncompressed zip archive (the "associated files" of TensorFlow Lite's metadata), or nothing.
std::vector<std::string> TfliteLabels(std::string_view model);

// Return the lines of a text, without empty ones, to be printed.
std::vector<std::string> Lines(std::string_view text);

}  // namespace label_image
