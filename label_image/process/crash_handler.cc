#include "process/crash_handler.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string_view>

#include "error.h"
#include "process/temporary_file.h"

namespace label_image {

const char* volatile crash_runtime = "TensorFlow";
const char* volatile crash_phase = "while it was loaded";

namespace {

constexpr size_t kStackSize = size_t{512} << 20;

int log_fd = -1;
std::atomic<off_t> log_start{0};  // in bytes: what is before it does not explain a crash

std::string_view SignalName(int number) {
  switch (number) {
    case SIGABRT: return "signal 6 (aborted)";
    case SIGSEGV: return "signal 11 (invalid memory access or stack overflow)";
    case SIGBUS: return "signal 7 (invalid memory access)";
    case SIGFPE: return "signal 8 (division by zero or overflow)";
    case SIGILL: return "signal 4 (instruction that this processor does not have)";
  }
  return "a signal";
}

// Signal handlers may only call async-signal-safe functions.
void OnCrash(int number, siginfo_t* info, void*) {
  static std::atomic_flag crashed = ATOMIC_FLAG_INIT;
  while (crashed.test_and_set()) pause();  // another thread has crashed, too
  char buffer[4096];
  std::string_view line;
  const bool is_sent = info->si_code == SI_USER;  // by another process
  if (number == SIGABRT && !is_sent && log_fd >= 0) {  // the library may have said why
    const off_t last = lseek(log_fd, 0, SEEK_END) - static_cast<off_t>(sizeof(buffer));
    const ssize_t size = pread(log_fd, buffer, sizeof(buffer), std::max(last, log_start.load()));
    for (ssize_t i = 0; i < size; ++i) {
      if (static_cast<unsigned char>(buffer[i]) < 0x20 && buffer[i] != '\n') buffer[i] = ' ';
    }
    line = std::string_view(buffer, std::max<ssize_t>(size, 0));
    const size_t check = line.rfind("Check failed: ");  // a stack trace may follow
    if (check != line.npos) line = line.substr(check, line.substr(check).find('\n'));
    while (!line.empty() && line.back() == '\n') line.remove_suffix(1);
    line = line.substr(line.rfind('\n') + 1, 300);
  }
  if (line.empty()) line = SignalName(number);
  WriteError({crash_runtime, " crashed ", crash_phase, ": ", line});
  RemoveTemporaryFile();
  _exit(1);
}

struct Call {
  int (*function)(int, char**);
  int argc;
  char** argv;
  int result = 1;
};

void* RunCall(void* argument) {
  // A stack overflow leaves no stack for the handler.
  static char stack[64 << 10];
  stack_t signal_stack = {};
  signal_stack.ss_sp = stack;
  signal_stack.ss_size = sizeof(stack);
  sigaltstack(&signal_stack, nullptr);
  Call* call = static_cast<Call*>(argument);
  call->result = call->function(call->argc, call->argv);
  return nullptr;
}

}  // namespace

void InstallCrashHandler() {
  // AddressSanitizer handles crashes itself, and reports to stderr.
  if (dlsym(RTLD_DEFAULT, "__asan_init")) return;
  struct sigaction action = {};
  action.sa_sigaction = OnCrash;
  action.sa_flags = SA_ONSTACK | SA_SIGINFO;
  for (int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) sigaction(number, &action, nullptr);
  const char* level = getenv("TF_CPP_MIN_LOG_LEVEL");
  if (level && *level == '0') return;
  log_fd = memfd_create("stderr", MFD_CLOEXEC);
  const int user_stderr = dup(STDERR_FILENO);
  if (log_fd < 0 || user_stderr < 0 || dup2(log_fd, STDERR_FILENO) < 0) return;
  error_fd = user_stderr;
}

void ForgetLog() {
  if (log_fd >= 0) log_start = lseek(log_fd, 0, SEEK_END);
}

int RunOnLargeStack(int (*function)(int, char**), int argc, char** argv) {
  Call call = {function, argc, argv};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackSize);
  pthread_t thread;
  if (pthread_create(&thread, &attributes, RunCall, &call) != 0) {
    RunCall(&call);  // no address space for such a stack, e.g. under ulimit -v
  } else {
    pthread_join(thread, nullptr);
  }
  return call.result;
}

}  // namespace label_image
