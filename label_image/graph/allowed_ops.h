// The operations that inference may run: those that compute their outputs from their inputs alone.
#pragma once

#include <string_view>

namespace label_image {

// Return whether an operation is known to have no state, no randomness and no loop, and not to use
// files, the network, Python, queues or variables.
bool IsAllowedInInference(std::string_view op);

}  // namespace label_image
