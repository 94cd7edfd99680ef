// A limit on the memory of this process, so that a graph cannot take all that the machine has.
#pragma once

#include <cstdint>
#include <string>

namespace label_image {

// Return the bytes that the machine has left, or if that is less one of this process's control
// groups; INT64_MAX: unknown. permafrost/machine.py does the same. `system` is the root of the file
// system.
int64_t AvailableMemory(const std::string& system = "");

// Allow `megabytes` (1 MB = 10^6 bytes) more than the process has now; 0: three quarters of the
// available memory. If an allocation fails, TensorFlow returns an error, or one line is printed and
// the exit code is 1.
// Call it before the model is read, because a small file may hold millions of nodes, and again once
// the library is loaded, whose own memory does not count.
void LimitMemory(int megabytes);

// Take the limit back, until the next LimitMemory: to load the library.
void LiftMemoryLimit();

// Return how to allow more memory: "(limit: 12 MB; --memory_limit changes it)".
const char* MemoryLimitHint();

}  // namespace label_image
