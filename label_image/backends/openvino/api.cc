#include "backends/openvino/api.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "backends/library.h"
#include "error.h"

namespace label_image {
namespace {

constexpr int kOldestVersion = 2026;  // before, element types had other numbers

const LibraryNames kNames = {"OpenVINO",
                             {"openvino"},
                             {"libs/libopenvino_c.so*", "libopenvino_c.so*"},
                             {"libopenvino_c.so"}};

// TBB loads libtbbbind so that it and libhwloc ignore the program's allocator (RTLD_DEEPBIND), and
// then frees with one allocator what another has given. Loaded here, they use one.
void LoadTbbBind(const std::filesystem::path& folder) {
  std::error_code error;  // there may be no such directory
  for (const std::filesystem::path& file : std::filesystem::directory_iterator(folder, error)) {
    if (file.filename().native().compare(0, 10, "libtbbbind") == 0) {
      dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    }
  }
}

}  // namespace

void OpenVino::Check(int status, const char* failure) const {
  if (status == 0) return;
  const char* last = get_last_err_msg();
  std::string message = last ? last : "";
  // Skip the lines "Exception from src/.../file.cpp:123:", which name OpenVINO's sources.
  for (size_t start; (start = message.find("Exception from ")) != message.npos;) {
    message.erase(start, message.find('\n', start) == message.npos
                             ? message.npos : message.find('\n', start) + 1 - start);
  }
  message = OneLine(message);
  message = message.substr(std::min(message.find_first_not_of(' '), message.size()));
  throw Error("OpenVINO ", version, " ", failure, ": ",
              message.empty() ? get_error_info(status) : message);
}

OpenVino LoadOpenVino(const std::vector<std::string>& libraries) {
  OpenVino openvino;
  const Library library = LoadLibrary(kNames, libraries);
  openvino.path = library.path;
#define LABEL_IMAGE_FIND(name, result, parameters) library.Find("ov_" #name, &openvino.name);
  LABEL_IMAGE_OPENVINO_FUNCTIONS(LABEL_IMAGE_FIND)
#undef LABEL_IMAGE_FIND
  LoadTbbBind(std::filesystem::path(openvino.path).parent_path());
  ov_version version = {};
  openvino.Check(openvino.get_openvino_version(&version), "does not report its version");
  openvino.version = version.build_number;  // 2026.4.1-22166-abc
  openvino.version = openvino.version.substr(0, openvino.version.find('-'));
  if (std::atoi(openvino.version.c_str()) < kOldestVersion) {
    throw Error("OpenVINO ", openvino.version, " is too old: version ", kOldestVersion,
                " is needed");
  }
  openvino.Check(openvino.core_create(&openvino.core), "cannot start");
  return openvino;
}

}  // namespace label_image
