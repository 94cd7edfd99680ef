// label_image: classifies images with a model, evaluates it, or measures the latency of several.

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "commands.h"
#include "comparison/compare.h"
#include "error.h"
#include "flags.h"
#include "open.h"
#include "process/crash_handler.h"

namespace label_image {
namespace {

int Run(int argc, char** argv) {
  return ExitCode([=] {
    Flags flags = ParseFlags(argc, argv);
    if (flags.help) {
      fputs(HelpText().c_str(), stdout);
      return 0;
    }
    if (!flags.session_config.empty()) ReadSessionConfig(&flags);
    if (!flags.compared.empty()) return CompareModels(flags);
    return RunWithModel(flags, RunCommand);
  });
}

}  // namespace
}  // namespace label_image

int main(int argc, char** argv) {
  // Else the first file that is opened would be stdout. A write to one that is read-only fails.
  for (int closed = 0; closed >= 0 && closed <= STDERR_FILENO;) {
    closed = open("/dev/null", O_RDONLY);
    if (closed > STDERR_FILENO) close(closed);
  }
  int code = label_image::RunOnLargeStack(label_image::Run, argc, argv);
  // A failed write of an earlier printf or fputs shows in ferror alone.
  if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0) {
    label_image::PrintError("cannot write to stdout");
    code = 1;
  }
  // Skip the destructors of the library's static objects: some of them wait for threads.
  _exit(code);
}
