#include "backends/backend.h"

#include <sys/stat.h>

#include <algorithm>
#include <string_view>

#include "file.h"

namespace label_image {
namespace {

using Names = std::vector<std::string>;

// Return `name` without what TensorFlow Lite's converter adds to it.
std::string_view Plain(std::string_view name) {
  constexpr std::string_view kPrefix = "serving_default_";
  if (name.substr(0, kPrefix.size()) == kPrefix) name.remove_prefix(kPrefix.size());
  return EndsWith(name, ":0") ? name.substr(0, name.size() - 2) : name;
}

// Return the one of `names` that `name` stands for, or "".
std::string Match(const Names& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) != names.end()) return name;
  const auto found = std::find_if(names.begin(), names.end(), [&](const std::string& each) {
    return Plain(each) == Plain(name);
  });
  return found == names.end() ? "" : *found;
}

// Return the one of `names` that `flag` names, or one of `usual`, or the only one; else "" and a
// missing flag.
std::string Choose(const std::string& path, const Names& names, const char* flag,
                   const std::string& value, const Names& usual, Names* missing_flags) {
  if (!value.empty()) {
    const std::string match = Match(names, value);
    if (!match.empty()) return match;
    throw Error(path, " has no ", Quote(value), " for --", flag, " ", Candidates(names));
  }
  for (const std::string& name : usual) {
    const std::string match = Match(names, name);
    if (!match.empty()) return match;
  }
  if (names.size() == 1) return names[0];
  missing_flags->push_back(MissingFlag(flag, names));
  return "";
}

}  // namespace

bool DropBytes(ModelFile* file) {
  struct stat status;
  if (stat(file->path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  std::string().swap(file->bytes);
  return true;
}

Nodes ChooseNodes(const std::string& path, const Names& inputs, const Names& outputs,
                  const ModelOptions& options) {
  if (inputs.size() != 1) {
    throw Error(path, " has ", inputs.size(), " inputs, but only models with one can be fed");
  }
  Nodes nodes;
  nodes.input = Choose(path, inputs, "node", options.node, {}, &nodes.missing_flags);
  nodes.output = Choose(path, outputs, "output", options.output, {"predictions", "probabilities"},
                        &nodes.missing_flags);
  nodes.own = nodes.input == Match(inputs, "images");
  return nodes;
}

std::string RuntimeText(const Backend& backend, const ModelOptions& options) {
  return backend.name + " " + backend.version +
         (options.precision == "float32" ? "" : ", " + options.precision);
}

}  // namespace label_image
