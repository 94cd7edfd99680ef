#include "backends/library.h"

#include <dlfcn.h>
#include <string.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "error.h"

namespace label_image {
namespace {

namespace fs = std::filesystem;

// Return the file `name` in a folder, or "" if there is none. A name that ends in * is the
// beginning of one, which a version follows.
std::string FindFile(const fs::path& folder, const std::string& name) {
  std::error_code error;  // of the iterator: there may be no such directory
  if (name.back() != '*') return fs::exists(folder / name, error) ? folder / name : fs::path();
  const fs::path pattern = folder / name.substr(0, name.size() - 1);
  std::vector<std::string> found;
  for (const fs::path& file : fs::directory_iterator(pattern.parent_path(), error)) {
    if (file.native().compare(0, pattern.native().size(), pattern.native()) == 0) {
      found.push_back(file);
    }
  }
  return found.empty() ? "" : *std::max_element(
      found.begin(), found.end(), [](const std::string& a, const std::string& b) {
        return strverscmp(a.c_str(), b.c_str()) < 0;  // 1.9 before 1.11
      });
}

// Return the first library in a directory or in a package below it, or "".
std::string FindLibrary(const LibraryNames& names, const fs::path& directory) {
  std::vector<fs::path> folders = {directory, directory / "lib"};
  std::vector<fs::path> packages = {directory};
  std::error_code error;
  for (const fs::path& python : fs::directory_iterator(directory / "lib", error)) {
    packages.push_back(python / "site-packages");
  }
  for (const fs::path& folder : packages) {
    for (const std::string& name : names.packages) folders.push_back(folder / name);
  }
  for (const std::string& name : names.files) {
    for (const fs::path& folder : folders) {
      const std::string found = FindFile(folder, name);
      if (!found.empty()) return found;
    }
  }
  return "";
}

// Return whether a file is named as one of the libraries is.
bool HasName(const LibraryNames& names, const std::string& path) {
  const std::string file = fs::path(path).filename();
  return std::any_of(names.files.begin(), names.files.end(), [&file](const std::string& name) {
    const std::string base = fs::path(name).filename();
    const size_t stem = base.find(".so") + 3;  // with it: libtensorflow_framework.so is no match
    return file.compare(0, stem, base, 0, stem) == 0;
  });
}

std::string FindInPaths(const LibraryNames& names, const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    std::error_code error;
    if (fs::is_directory(path, error)) {
      const std::string found = FindLibrary(names, path);
      if (!found.empty()) return found;
    } else if (paths.size() == 1 || HasName(names, path)) {
      // Without a slash, dlopen searches the system's directories.
      return path.find('/') == path.npos ? "./" + path : path;
    }
  }
  std::string all;
  for (const std::string& path : paths) all += (all.empty() ? "" : ", ") + path;
  throw Error(all, ": contains no ", names.runtime, " library");
}

}  // namespace

void* Library::Find(const char* name) const {
  void* symbol = dlsym(handle, name);
  if (!symbol) throw Error(path, " is not a ", runtime, " library: it has no ", name);
  return symbol;
}

Library LoadLibrary(const LibraryNames& names, const std::vector<std::string>& paths) {
  // Lazy binding, because other libraries may lack some of the functions.
  constexpr int kFlags = RTLD_LAZY | RTLD_LOCAL;
  const auto candidates =
      paths.empty() ? names.system : std::vector<std::string>{FindInPaths(names, paths)};
  std::string reason;  // of the first library that exists, else of the last
  bool exists = false;
  for (const std::string& path : candidates) {
    if (void* handle = dlopen(path.c_str(), kFlags)) return {handle, names.runtime, path};
    if (exists) continue;
    reason = OneLine(dlerror());
    exists = reason.rfind(path + ": cannot open shared object file", 0) != 0;
  }
  const char* folders = std::getenv("LD_LIBRARY_PATH");
  throw Error("cannot load ", names.runtime, ": ", reason,
              paths.empty() ? " (give a library with --library)"
              : folders && *folders
                  ? ". Unset LD_LIBRARY_PATH, which may point to another version's libraries"
                  : "");
}

}  // namespace label_image
