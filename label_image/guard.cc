#include "guard.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <initializer_list>

namespace label_image {
namespace {

int real_stderr = STDERR_FILENO;
int held = -1;

// as g++ and as clang say it
#if defined(__has_feature)
#define LABEL_IMAGE_FEATURE(name) __has_feature(name)
#else
#define LABEL_IMAGE_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || LABEL_IMAGE_FEATURE(address_sanitizer)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// Only calls that a signal handler may make.
void OnCrash(int) {
  static constexpr char kStart[] = "label_image: TensorFlow crashed: ";
  char line[300];
  ssize_t size = 0, first = 0;
  if (held >= 0) {
    const off_t end = lseek(held, 0, SEEK_END);
    const off_t start = end > static_cast<off_t>(sizeof(line)) ? end - sizeof(line) : 0;
    size = pread(held, line, sizeof(line), start);
    while (size > 0 && line[size - 1] == '\n') --size;
    for (ssize_t i = size; i-- > 0 && first == 0;) {
      if (line[i] == '\n') first = i + 1;
    }
  }
  ssize_t written = write(real_stderr, kStart, sizeof(kStart) - 1);
  if (size > 0) written += write(real_stderr, line + first, size - first);
  written += write(real_stderr, "\n", 1);
  static_cast<void>(written);
  _exit(1);
}

}  // namespace

int RealStderr() { return real_stderr; }

void GuardAgainstLibrary() {
  if (kSanitized) return;  // the sanitizers' reports go to stderr, and crashes are theirs
  for (int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) signal(number, OnCrash);
  const char* level = getenv("TF_CPP_MIN_LOG_LEVEL");
  if (level && *level == '0') return;  // all of its messages are wanted
  held = memfd_create("stderr", MFD_CLOEXEC);
  const int kept = dup(STDERR_FILENO);
  if (held < 0 || kept < 0 || dup2(held, STDERR_FILENO) < 0) return;
  real_stderr = kept;
}

}  // namespace label_image
