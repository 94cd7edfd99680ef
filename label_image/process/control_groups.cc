#include "process/control_groups.h"

#include <fstream>

namespace label_image {

namespace fs = std::filesystem;

std::vector<ControlGroup> ControlGroups(const std::string& controller, const std::string& system) {
  const fs::path top = system + "/sys/fs/cgroup";
  std::vector<ControlGroup> groups;
  std::ifstream lines(system + "/proc/self/cgroup");
  for (std::string line; std::getline(lines, line);) {  // number:controllers:/path
    const size_t colon = line.find(':'), path = line.find(":/");
    if (path == std::string::npos) continue;
    const bool v2 = path == colon + 1;
    const std::string controllers = ',' + line.substr(colon + 1, path - colon - 1) + ',';
    if (!v2 && controllers.find(',' + controller + ',') == std::string::npos) continue;
    const fs::path root = v2 ? top : top / controller;
    fs::path folder = root / line.substr(path + 2);
    for (; folder.native().size() >= root.native().size(); folder = folder.parent_path()) {
      groups.push_back({v2 ? 2 : 1, folder});
    }
  }
  // Without /proc, a container's group is at the top.
  if (groups.empty()) groups = {{2, top}, {1, top / controller}};
  return groups;
}

}  // namespace label_image
