// Reads TensorFlow Lite files without a runtime.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace label_image {

// Return whether a file is a TensorFlow Lite model.
inline bool IsTflite(std::string_view bytes) {
  return bytes.size() > 8 && bytes.substr(4, 4) == "TFL3";
}

// Return the class names in labels.txt, one a line, which is attached to the model as an
// uncompressed zip archive (the "associated files" of TensorFlow Lite's metadata), or nothing.
std::vector<std::string> TfliteLabels(std::string_view model);

}  // namespace label_image
