// The control groups that limit what this process may use, as those of a container do.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace label_image {

struct ControlGroup {
  int version;  // 1 or 2
  std::filesystem::path folder;
};

// Return this process's groups for `controller`, and all that they are part of.
// permafrost/machine.py does the same. `system` is the root of the file system.
std::vector<ControlGroup> ControlGroups(const std::string& controller, const std::string& system);

}  // namespace label_image
