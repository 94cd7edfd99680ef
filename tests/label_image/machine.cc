// Prints the CPU quota and the available memory of this process, below a root of the file system.
#include <cstdio>

#include "backends/processor.h"
#include "process/memory_limit.h"

int main(int, char** arguments) {
  const char* root = arguments[1];
  printf("%g %lld\n", label_image::CpuQuota(root),
         static_cast<long long>(label_image::AvailableMemory(root)));
}
