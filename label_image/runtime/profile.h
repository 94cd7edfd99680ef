// The time of each operation.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/network.h"

namespace label_image {

struct OperationTime {
  std::string node, op;
  double microseconds = 0;  // per run
};

// Return the mean times of all operations over `runs` traced runs, the slowest first, or nothing if
// the library does not provide them. Tracing slows the runs down, so compare the times with each
// other, not with the latency.
std::vector<OperationTime> Profile(Network* network, int64_t batch_size, int runs);

// Add the times in a serialized RunMetadata to `total`, by node.
void AddProfile(std::string_view run_metadata, std::map<std::string, OperationTime>* total);

}  // namespace label_image
