// Which runtime opens a file, and loading it.
#pragma once

#include <string>
#include <vector>

#include "backends/backend.h"

namespace label_image {

// Return `runtime`, or if it is "" the name of the runtime that the suffix of `path` stands for.
// Throws UsageError if there is no such runtime.
std::string ChooseRuntime(const std::string& path, const std::string& runtime);

// Return whether a runtime has this name.
bool IsRuntime(const std::string& name);

// Read a file for a runtime. `feeds`: see feed.h; `name`: that of the file, "" for its path. Throws
// Error if it is of another kind, UsageError if `feeds` do not fit.
ModelFile ReadModelFile(const std::string& path, const std::string& runtime,
                        const std::vector<std::string>& feeds, const std::string& name = "");

// Load the library of a runtime; see LoadLibrary. Throws Error.
Backend LoadBackend(const std::string& runtime, const std::vector<std::string>& libraries);

}  // namespace label_image
