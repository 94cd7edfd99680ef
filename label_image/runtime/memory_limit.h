// A limit on the memory of this process, so that a graph cannot take all that the machine has.
#pragma once

namespace label_image {

// From now on allow `megabytes` more than the process has; 0: three quarters of what is available.
// If an allocation fails, TensorFlow returns an error, or one line is printed and the exit code is 1.
// Call it before the model is read, because a small file may hold millions of nodes, and again once
// the library is loaded, whose own memory does not count.
void LimitMemory(int megabytes);

// Take the limit back, until the next LimitMemory: to load the library.
void LiftMemoryLimit();

// Return how to allow more memory: "(limit: 12 MB, set by --memory_limit)".
const char* MemoryLimitHint();

}  // namespace label_image
