#include "process/proc_file.h"

#include <fstream>

namespace label_image {

std::optional<int64_t> ReadProcField(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    int64_t kilobytes;
    if (word == key + ":" && file >> kilobytes) return kilobytes << 10;
  }
  return std::nullopt;
}

}  // namespace label_image
