// A limit on the memory of this process, so that a graph cannot take all that the machine has.
#pragma once

namespace label_image {

// From now on allow `megabytes` more than the process has; 0: three quarters of what is available.
// If an allocation fails, TensorFlow returns an error, or one line is printed and the exit code is 1.
void LimitMemory(int megabytes);

// Return how to allow more memory: "(limit: 12 MB, set by --memory_limit)".
const char* MemoryLimitHint();

}  // namespace label_image
