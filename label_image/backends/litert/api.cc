#include "backends/litert/api.h"

#include <filesystem>

#include "backends/library.h"
#include "error.h"

namespace label_image {
namespace {

namespace fs = std::filesystem;

const LibraryNames kNames = {
    "LiteRT", {"ai_edge_litert"}, {"libLiteRt.so"}, {"libLiteRt.so"}};

// Return the version in the name of the wheel's metadata. A library that is not in a wheel does not
// tell its version.
std::string WheelVersion(const fs::path& library) {
  const std::string begin = "ai_edge_litert-", end = ".dist-info";
  std::error_code error;
  for (const fs::path& file :
       fs::directory_iterator(library.parent_path().parent_path(), error)) {
    const std::string name = file.filename();
    const size_t size = begin.size() + end.size();
    if (name.size() > size && name.compare(0, begin.size(), begin) == 0 &&
        name.compare(name.size() - end.size(), end.size(), end) == 0) {
      return name.substr(begin.size(), name.size() - size);
    }
  }
  return "(unknown version)";
}

const char* StatusText(int status) {
  switch (status) {
    case 1: return "invalid argument";
    case 2: return "not enough memory";
    case 3: return "failure at run time";
    case 4: return "missing input";
    case 5: return "unsupported";
    case 6: return "not found";
    case 501: return "no valid file";
    case 1000: return "index out of range";
    case 1001: return "no valid type";
    case 1500: return "unknown operation, type or size";
    default: return "failure";
  }
}

}  // namespace

void LiteRt::Check(int status, const char* failure) const {
  if (status == 0) return;
  throw Error("LiteRT ", version, " ", failure, ": ", StatusText(status), " (status ", status,
              ")");
}

LiteRt LoadLiteRt(const std::vector<std::string>& libraries) {
  LiteRt litert;
  const Library library = LoadLibrary(kNames, libraries);
  litert.path = library.path;
#define LABEL_IMAGE_FIND(name, parameters) library.Find("LiteRt" #name, &litert.name);
  LABEL_IMAGE_LITERT_FUNCTIONS(LABEL_IMAGE_FIND)
#undef LABEL_IMAGE_FIND
  litert.version = WheelVersion(litert.path);
  litert.Check(litert.CreateEnvironment(0, nullptr, &litert.environment), "cannot start");
  return litert;
}

}  // namespace label_image
