#include "backends/processor.h"

#include <sched.h>

#ifdef __aarch64__
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "error.h"

namespace label_image {
namespace {

bool HasBfloat16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#elif defined(__aarch64__)
  constexpr unsigned long kHwcap2Bf16 = 1UL << 14;
  return getauxval(AT_HWCAP2) & kHwcap2Bf16;
#else
  return false;
#endif
}

}  // namespace

double CpuQuota(const std::string& system) {
  namespace fs = std::filesystem;
  double smallest = 1e9;
  std::ifstream groups(system + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // number:controllers:/path
    const size_t colon = line.find(':'), path = line.find(":/");
    if (path == std::string::npos) continue;
    const bool v2 = path == colon + 1;
    const std::string controllers = line.substr(colon, path - colon) + ',';
    if (!v2 && controllers.find(":cpu,") == std::string::npos &&
        controllers.find(",cpu,") == std::string::npos) {
      continue;
    }
    const fs::path root = system + (v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu");
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

int CountProcessors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, static_cast<int>(std::min<double>(CPU_COUNT(&set), std::ceil(CpuQuota()))));
}

void CheckBfloat16() {
  if (HasBfloat16()) return;
  throw Error("this processor has no bfloat16 instructions (AVX512_BF16): leave "
              "--precision bfloat16 out");
}

}  // namespace label_image
