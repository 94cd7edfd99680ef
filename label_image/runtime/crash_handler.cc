#include "runtime/crash_handler.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "error.h"

namespace label_image {
namespace {

int log_fd = -1;

// Signal handlers may only call async-signal-safe functions.
void OnCrash(int) {
  char buffer[300];
  const off_t start = lseek(log_fd, 0, SEEK_END) - static_cast<off_t>(sizeof(buffer));
  const ssize_t size = pread(log_fd, buffer, sizeof(buffer), std::max<off_t>(start, 0));
  std::string_view line(buffer, std::max<ssize_t>(size, 0));
  while (!line.empty() && line.back() == '\n') line.remove_suffix(1);
  line.remove_prefix(line.rfind('\n') + 1);
  for (std::string_view text : {std::string_view("label_image: TensorFlow crashed: "), line,
                                std::string_view("\n")}) {
    if (write(error_fd, text.data(), text.size()) < 0) break;
  }
  _exit(1);
}

}  // namespace

void InstallCrashHandler() {
  // AddressSanitizer handles crashes itself, and reports to stderr.
  if (dlsym(RTLD_DEFAULT, "__asan_init")) return;
  for (int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) signal(number, OnCrash);
  const char* level = getenv("TF_CPP_MIN_LOG_LEVEL");
  if (level && *level == '0') return;
  log_fd = memfd_create("stderr", MFD_CLOEXEC);
  const int user_stderr = dup(STDERR_FILENO);
  if (log_fd < 0 || user_stderr < 0 || dup2(log_fd, STDERR_FILENO) < 0) return;
  error_fd = user_stderr;
}

}  // namespace label_image
