#include "process/memory_limit.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <new>
#include <optional>
#include <string>
#include <string_view>

#include "error.h"
#include "process/control_groups.h"
#include "process/proc_file.h"
#include "process/temporary_file.h"

namespace label_image {
namespace {

constexpr int64_t kUnlimited = INT64_MAX, kMegabyte = 1000000;

char hint[100] = "";
rlim_t soft_before = RLIM_INFINITY;  // the limit that the user has set
bool limited = false;

// Return the bytes in a file of one number, or kUnlimited.
int64_t ReadNumber(const std::filesystem::path& path) {
  int64_t number = kUnlimited;
  return std::ifstream(path) >> number ? number : kUnlimited;  // "max" is not a number
}

// Return the number that a line "`key` N" of a file says, or 0.
int64_t ReadStatistic(const std::filesystem::path& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    int64_t number;
    if (word == key && file >> number) return number;
  }
  return 0;
}

void OnOutOfMemory() {
  WriteError({"not enough memory ", hint});
  RemoveTemporaryFile();
  _exit(1);
}

}  // namespace

int64_t AvailableMemory(const std::string& system) {
  int64_t available =
      ReadProcField((system + "/proc/meminfo").c_str(), "MemAvailable").value_or(kUnlimited);
  struct Files { const char *limit, *usage, *cache; };
  for (const auto& [version, folder] : ControlGroups("memory", system)) {
    const Files files = version == 2 ? Files{"memory.max", "memory.current", "inactive_file"}
                                     : Files{"memory.limit_in_bytes", "memory.usage_in_bytes",
                                             "total_inactive_file"};
    const int64_t max = ReadNumber(folder / files.limit), used = ReadNumber(folder / files.usage);
    if (max == kUnlimited || used == kUnlimited) continue;
    // Usage counts files in the cache, which the kernel drops when memory is needed.
    const int64_t cached = ReadStatistic(folder / "memory.stat", files.cache);
    available = std::min(available, std::max<int64_t>(0, max - used + cached));
  }
  return available;
}

void LimitMemory(int megabytes) {
  const std::optional<int64_t> used = ReadProcField("/proc/self/status", "VmData");
  const int64_t available = AvailableMemory();
  if (!used || (!megabytes && available == kUnlimited)) return;
  const int64_t more = megabytes ? int64_t{megabytes} * kMegabyte : available / 4 * 3;
  snprintf(hint, sizeof(hint), "(limit: %lld MB%s)", static_cast<long long>(more / kMegabyte),
           megabytes ? ", set by --memory_limit" : "; --memory_limit changes it");
  rlimit limit;
  // Private memory that can be written. RLIMIT_AS would also count what TensorFlow only reserves.
  if (getrlimit(RLIMIT_DATA, &limit) != 0) return;
  if (!limited) soft_before = limit.rlim_cur;
  limit.rlim_cur = std::min({static_cast<rlim_t>(*used + more), soft_before, limit.rlim_max});
  if (setrlimit(RLIMIT_DATA, &limit) != 0) return;
  limited = true;
  std::set_new_handler(OnOutOfMemory);
}

void LiftMemoryLimit() {
  rlimit limit;
  if (!limited || getrlimit(RLIMIT_DATA, &limit) != 0) return;
  limit.rlim_cur = soft_before;
  if (setrlimit(RLIMIT_DATA, &limit) != 0) return;
  limited = false;
  std::set_new_handler(nullptr);
}

const char* MemoryLimitHint() { return hint; }

}  // namespace label_image
