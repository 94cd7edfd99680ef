// Constants for placeholders that are not the image, such as keep_prob and is_training.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace label_image {

// Return the GraphDef `bytes` with a Const for each placeholder that `feeds`, as NAME=VALUE, names.
// Throws UsageError if a value does not fit, Error if there is no such placeholder. `path` names
// the graph in messages.
std::string Feed(std::string bytes, const std::string& path, const std::vector<std::string>& feeds);

}  // namespace label_image
