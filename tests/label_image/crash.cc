// Crashes, gets a signal, or runs out of memory, while a temporary file is there. A library has
// logged a note before.
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "process/crash_handler.h"
#include "process/memory_limit.h"
#include "process/temporary_file.h"

int main(int, char** argv) {
  label_image::InstallCrashHandler();
  fputs("a note\n", stderr);
  label_image::ForgetLog();
  label_image::LimitMemory(100);
  const label_image::TemporaryFile file("graph");
  if (!strcmp(argv[1], "crash")) raise(SIGSEGV);
  if (!strcmp(argv[1], "check")) fputs("Check failed: 1 == 2\n", stderr);
  if (!strcmp(argv[1], "check") || !strcmp(argv[1], "abort")) abort();
  if (!strcmp(argv[1], "TERM")) raise(SIGTERM);
  if (!strcmp(argv[1], "INT")) raise(SIGINT);
  if (!strcmp(argv[1], "HUP")) raise(SIGHUP);
  delete[] new char[int64_t{1} << 40];
}
