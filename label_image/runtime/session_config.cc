#include "runtime/session_config.h"

#include <sched.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "graph/wire.h"

namespace label_image {
namespace {

// Field numbers in TensorFlow's config.proto.
enum ConfigField { kIntraOp = 2, kInterOp = 5, kAllowSoftPlacement = 7, kExperimental = 16 };
enum ExperimentalField { kExecutorType = 3 };

// Return the smallest CPU quota, in processors, of this process's control groups and of all that
// they are part of, or a large number if none has one. permafrost/runtime.py does the same.
double CpuQuota() {
  namespace fs = std::filesystem;
  double smallest = 1e9;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // number:controllers:/path
    const size_t colon = line.find(':'), path = line.find(":/");
    if (path == std::string::npos) continue;
    const bool v2 = path == colon;
    const std::string controllers = line.substr(colon, path - colon) + ',';
    if (!v2 && controllers.find(":cpu,") == std::string::npos &&
        controllers.find(",cpu,") == std::string::npos) {
      continue;
    }
    const fs::path root = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu";
    fs::path folder = root / line.substr(path + 2);
    for (; folder.native().size() >= root.native().size(); folder = folder.parent_path()) {
      double quota = 0, period = 0;  // they stay 0 if there is no such file or number
      std::ifstream(folder / (v2 ? "cpu.max" : "cpu.cfs_quota_us")) >> quota >> period;
      if (!v2) std::ifstream(folder / "cpu.cfs_period_us") >> period;
      if (quota > 0 && period > 0) smallest = std::min(smallest, quota / period);
    }
  }
  return smallest;
}

}  // namespace

int CountProcessors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, static_cast<int>(std::min<double>(CPU_COUNT(&set), std::ceil(CpuQuota()))));
}

void SetEnvironment(int threads) {
  setenv("TF_CPP_MIN_LOG_LEVEL", "3", 0);
  setenv("OMP_NUM_THREADS", std::to_string(threads).c_str(), 0);
  setenv("KMP_BLOCKTIME", "1", 0);
  setenv("KMP_SETTINGS", "0", 0);
}

std::string SessionConfig(int threads, bool single_threaded_executor) {
  wire::Writer config, experimental;
  config.Varint(kIntraOp, threads).Varint(kAllowSoftPlacement, 1);
  if (threads > 1 || !single_threaded_executor) return config.Varint(kInterOp, 1).str();
  // -1: run all operations in the calling thread, so that no other thread has to wake up.
  config.Varint(kInterOp, static_cast<uint64_t>(int64_t{-1}));
  experimental.Bytes(kExecutorType, "SINGLE_THREADED_EXECUTOR");
  return config.Bytes(kExperimental, experimental.str()).str();
}

}  // namespace label_image
