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

// Load a library: the first of `paths` that is a library of these names, or a directory that has
// one: a virtual environment, a `site-packages`, an installed package or an unpacked archive. No
// paths: that of the system. A single path that is a file need not have such a name. Return its
// handle; `*path` is the file. Throws Error.
void* LoadLibrary(const LibraryNames& names, const std::vector<std::string>& paths,
                  std::string* path);

// Return the function `name` of a library. Throws Error, which names the file `path`.
void* FindSymbol(void* library, const std::string& path, const std::string& runtime,
                 const char* name);

}  // namespace label_image
