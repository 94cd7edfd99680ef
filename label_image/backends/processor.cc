#include "backends/processor.h"

#include <sched.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "error.h"
#include "process/control_groups.h"

namespace label_image {
namespace {

bool HasBfloat16() {
#if defined(__x86_64__)
  // GCC 9 does not know the name avx512bf16. The system must save the registers, too: avx512f.
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __builtin_cpu_supports("avx512f") && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) &&
         (eax & 1U << 5);
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
  constexpr size_t kMaxSets = 256;  // of 1,024 processors each
  std::vector<cpu_set_t> sets(1);
  const auto bytes = [&sets] { return sets.size() * sizeof(cpu_set_t); };
  while (sched_getaffinity(0, bytes(), sets.data()) != 0) {
    if (sets.size() >= kMaxSets) return 1;
    sets.resize(2 * sets.size());
  }
  const int count = CPU_COUNT_S(bytes(), sets.data());
  return std::max(1, static_cast<int>(std::min<double>(count, std::ceil(CpuQuota()))));
}

void CheckBfloat16() {
  if (HasBfloat16()) return;
  throw Error("this processor has no bfloat16 instructions: leave --precision bfloat16 out");
}

}  // namespace label_image
