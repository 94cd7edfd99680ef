#include "runtime/memory_limit.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <new>
#include <string>
#include <string_view>

#include "error.h"

namespace label_image {
namespace {

constexpr int64_t kUnlimited = INT64_MAX;

char hint[100] = "";

// Return the bytes in a file of one number, or kUnlimited.
int64_t ReadNumber(const std::string& path) {
  int64_t number = kUnlimited;
  return std::ifstream(path) >> number ? number : kUnlimited;  // "max" is no number
}

// Return the bytes that a line "`key`: N kB" of a file in /proc says, or kUnlimited.
int64_t ReadField(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    int64_t kilobytes;
    if (word == key + ":" && file >> kilobytes) return kilobytes << 10;
  }
  return kUnlimited;
}

// Return the number that a line "`key` N" of a file says, or 0.
int64_t ReadStatistic(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    int64_t number;
    if (word == key && file >> number) return number;
  }
  return 0;
}

// Return the memory that the machine has left, or if that is less the container.
int64_t AvailableMemory() {
  const std::string group = "/sys/fs/cgroup/";
  int64_t available = ReadField("/proc/meminfo", "MemAvailable");
  struct Files { const char *limit, *usage, *statistics, *cache; };
  for (const Files& files :
       {Files{"memory.max", "memory.current", "memory.stat", "inactive_file"},
        Files{"memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat",
              "total_inactive_file"}}) {
    const int64_t max = ReadNumber(group + files.limit), used = ReadNumber(group + files.usage);
    if (max == kUnlimited || used == kUnlimited) continue;
    // Usage counts files in the cache, which the kernel drops when memory is needed.
    const int64_t cached = ReadStatistic(group + files.statistics, files.cache);
    available = std::min(available, std::max<int64_t>(0, max - used + cached));
  }
  return available;
}

void OnOutOfMemory() {
  for (std::string_view text : {std::string_view("label_image: not enough memory "),
                                std::string_view(hint), std::string_view("\n")}) {
    if (write(error_fd, text.data(), text.size()) < 0) break;
  }
  _exit(1);
}

}  // namespace

void LimitMemory(int megabytes) {
  const int64_t used = ReadField("/proc/self/status", "VmData");
  const int64_t available = AvailableMemory();
  if (used == kUnlimited || (!megabytes && available == kUnlimited)) return;
  const int64_t more = megabytes ? int64_t{megabytes} << 20 : available / 4 * 3;
  snprintf(hint, sizeof(hint), "(limit: %lld MB, set by --memory_limit)",
           static_cast<long long>(more >> 20));
  rlimit limit;
  // Private memory that can be written. RLIMIT_AS would also count what TensorFlow only reserves.
  if (getrlimit(RLIMIT_DATA, &limit) != 0) return;
  limit.rlim_cur = std::min<rlim_t>(used + more, limit.rlim_max);
  if (setrlimit(RLIMIT_DATA, &limit) == 0) std::set_new_handler(OnOutOfMemory);
}

const char* MemoryLimitHint() { return hint; }

}  // namespace label_image
