// Opens the model that the flags name, and hands it to a command.
#pragma once

#include <functional>

#include "backends/backend.h"
#include "flags.h"
#include "inference/network.h"

namespace label_image {

using Command = std::function<int(const Flags&, const Backend&, Network*)>;

// Read the ConfigProto in the file that `flags` names, and the number of threads that it states.
// Throws Error.
void ReadSessionConfig(Flags* flags);

// Return what `command` returns for the model of `flags`. From then on, this process has no output
// to stderr but PrintError's, and a limit on its memory. Throws Error.
int RunWithModel(Flags flags, const Command& command);

}  // namespace label_image
