// Times several models in turn, each in a process of its own, and prints one table.
#pragma once

#include "flags.h"

namespace label_image {

// Compare flags.compared, each FILE, RUNTIME=FILE or RUNTIME/PRECISION=FILE. The models take turns,
// so that other load on the machine slows all of them alike. With flags.batch_files, also measure
// their accuracy. Return an exit code. Throws Error.
int CompareModels(const Flags& flags);

}  // namespace label_image
