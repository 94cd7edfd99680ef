// The processors that this process may use, and their instructions.
#pragma once

#include <string>

namespace label_image {

// Return the number of processors that this process may use.
int CountProcessors();

// Return the smallest CPU quota, in processors, of this process's control groups and of all that
// they are part of, or a large number if none has one. permafrost/machine.py does the same.
// `system` is the root of the file system.
double CpuQuota(const std::string& system = "");

// Throw Error if the processor has no instructions for bfloat16: it would be slower than float32.
void CheckBfloat16();

}  // namespace label_image
