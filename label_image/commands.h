// The commands for a single model.
#pragma once

#include "flags.h"
#include "inference/network.h"

namespace label_image {

// Classify flags.images, evaluate flags.batch_files, or measure latency on random images. Print the
// results and return an exit code. An image that cannot be read is reported, the others are
// classified, and the exit code is 1.
int RunCommand(const Flags& flags, const Backend& backend, Network* network);

}  // namespace label_image
