#include "backends/backend.h"

#include <algorithm>

namespace label_image {
namespace {

using Names = std::vector<std::string>;

// TensorFlow Lite's converter adds these to a name.
constexpr const char* kPrefixes[] = {"", "serving_default_"};
constexpr const char* kSuffixes[] = {"", ":0"};

// Return the one of `names` that `name` stands for, or "".
std::string Match(const Names& names, const std::string& name) {
  for (const char* prefix : kPrefixes) {
    for (const char* suffix : kSuffixes) {
      const std::string full = prefix + name + suffix;
      if (std::find(names.begin(), names.end(), full) != names.end()) return full;
    }
  }
  return "";
}

// Return the one of `names` that `flag` names, or one of `usual`, or the only one; else "" and a
// question.
std::string Choose(const std::string& path, const Names& names, const char* flag,
                   const std::string& value, const Names& usual, Names* questions) {
  if (!value.empty()) {
    const std::string match = Match(names, value);
    if (!match.empty()) return match;
    throw Error(path, ": has no ", Quote(value), " for --", flag, " ", Candidates(names));
  }
  for (const std::string& name : usual) {
    const std::string match = Match(names, name);
    if (!match.empty()) return match;
  }
  if (names.size() == 1) return names[0];
  questions->push_back(Question(flag, names));
  return "";
}

}  // namespace

Nodes ChooseNodes(const std::string& path, const Names& inputs, const Names& outputs,
                  const ModelOptions& options) {
  if (inputs.size() > 1) {
    throw Error(path, ": has ", inputs.size(), " inputs, but only models with one can be fed");
  }
  Nodes nodes;
  nodes.input = Choose(path, inputs, "node", options.node, {}, &nodes.questions);
  nodes.output = Choose(path, outputs, "output", options.output, {"predictions", "probabilities"},
                        &nodes.questions);
  nodes.own = nodes.input == Match(inputs, "images");
  return nodes;
}

std::string RuntimeText(const Backend& backend, const ModelOptions& options) {
  return backend.name + " " + backend.version +
         (options.precision == "float32" ? "" : ", " + options.precision);
}

}  // namespace label_image
