// The operations that belong in inference: they compute their outputs from their inputs alone.

#ifndef LABEL_IMAGE_OPS_H_
#define LABEL_IMAGE_OPS_H_

#include <string_view>

namespace label_image {

// Whether the operation has no state, no randomness, no loop, and touches no file, network,
// Python, queue or variable. What is not known is not allowed.
bool AllowedInInference(std::string_view op);

}  // namespace label_image

#endif  // LABEL_IMAGE_OPS_H_
