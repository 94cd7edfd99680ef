#include "backends/processor.h"

#include <sched.h>

#ifdef __aarch64__
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

#include "error.h"
#include "process/control_groups.h"

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
  double smallest = 1e9;
  for (const auto& [version, folder] : ControlGroups("cpu", system)) {
    double quota = 0, period = 0;  // they stay 0 if there is no such file or number
    std::ifstream(folder / (version == 2 ? "cpu.max" : "cpu.cfs_quota_us")) >> quota >> period;
    if (version == 1) std::ifstream(folder / "cpu.cfs_period_us") >> period;
    if (quota > 0 && period > 0) smallest = std::min(smallest, quota / period);
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
  throw Error("this processor has no bfloat16 instructions: leave --precision bfloat16 out");
}

}  // namespace label_image
