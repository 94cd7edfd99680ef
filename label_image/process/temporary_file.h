// A file for a library that reads from files alone.
#pragma once

#include <string>

namespace label_image {

// A directory with one file, which is removed at the end. There is at most one at a time.
class TemporaryFile {
 public:
  // Throws Error if it cannot be written.
  explicit TemporaryFile(const std::string& bytes);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string directory_, path_;
};

// Remove the file if the process is to end at once. Signal handlers may call it.
void RemoveTemporaryFile();

}  // namespace label_image
