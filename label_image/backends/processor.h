// The processors that this process may use, and their instructions.
#pragma once

namespace label_image {

// Return the number of processors that this process may use.
int CountProcessors();

// Throw Error if the processor has no instructions for bfloat16: it would be slower than float32.
void CheckBfloat16();

}  // namespace label_image
