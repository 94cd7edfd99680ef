// Prints the CPU quota that the control groups below a root of the file system give this process.
#include <cstdio>

#include "backends/processor.h"

int main(int, char** arguments) { printf("%g\n", label_image::CpuQuota(arguments[1])); }
