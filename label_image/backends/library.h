// Shared libraries: found in the environments of Python packages, and loaded at run time.
#pragma once

#include <string>
#include <vector>

namespace label_image {

struct LibraryNames {
  std::string runtime;                // for messages
  std::vector<std::string> packages;  // folders in a `site-packages`
  std::vector<std::string> files;     // in such a folder, or in a directory of libraries
  std::vector<std::string> system;    // what the system's loader is asked for
};

struct Library {
  void* handle = nullptr;
  std::string runtime, path;

  // Set `*function` to the function `name`. Throws Error if there is none.
  template <typename Function>
  void Find(const char* name, Function* function) const {
    *function = reinterpret_cast<Function>(Find(name));
  }

 private:
  void* Find(const char* name) const;
};

// Load a library: the first of `paths` that is a library of these names, or a directory that has
// one: a virtual environment, a `site-packages`, an installed package or an unpacked archive. No
// paths: that of the system. A single path that is a file need not have such a name. Throws
// Error.
Library LoadLibrary(const LibraryNames& names, const std::vector<std::string>& paths);

}  // namespace label_image
