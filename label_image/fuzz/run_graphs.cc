// Classifies an image with many graphs, each in a process of its own, but loads TensorFlow once.
//
// usage: run_graphs LIBRARY IMAGE GRAPH...
//
// Prints a line for each graph: seconds, peak memory in MB, exit code or -signal, its last line.

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "backends/load.h"
#include "backends/tensorflow/session_config.h"
#include "commands.h"
#include "error.h"
#include "flags.h"
#include "inference/network.h"
#include "process/crash_handler.h"
#include "process/memory_limit.h"

namespace label_image {
namespace {

const Backend* loaded;

// As in main.cc, but with the loaded library.
int Classify(int argc, char** argv) {
  try {
    Flags flags = ParseFlags(argc, argv);
    LimitMemory(flags.memory_limit);
    const ModelFile file = ReadModelFile(flags.graph, "tensorflow", {});
    InstallCrashHandler();
    const auto model = loaded->open(file, flags.model);
    Network network(model.get(), flags.network);
    return RunCommand(flags, *loaded, &network);
  } catch (const Error& error) {
    PrintError(error.what());
  }
  return 1;
}

void RunInChild(const char* image, char* path) {
  char graph[] = "--graph", threads[] = "--threads=1", log[] = "/tmp/run_graphs.XXXXXX";
  char* arguments[] = {graph, graph, path, threads, const_cast<char*>(image)};
  const int output = mkstemp(log);
  unlink(log);
  const auto start = std::chrono::steady_clock::now();
  const pid_t child = fork();
  if (child == 0) {
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    alarm(60);
    const int code = RunOnLargeStack(Classify, 5, arguments);
    fflush(stdout);
    _exit(code);
  }
  int status = 0;
  rusage usage = {};
  wait4(child, &status, 0, &usage);
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  char text[4096] = "";
  const ssize_t size = pread(output, text, sizeof(text) - 1, 0);
  close(output);
  std::string_view lines(text, size < 0 ? 0 : size);
  while (!lines.empty() && lines.back() == '\n') lines.remove_suffix(1);
  lines.remove_prefix(lines.rfind('\n') + 1);
  printf("%s\t%.2f\t%ld\t%d\t%s\n", path, time.count(), usage.ru_maxrss * 1024 / 1000000,
         WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status),
         std::string(lines).c_str());
  fflush(stdout);
}

}  // namespace
}  // namespace label_image

int main(int argc, char** argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: run_graphs LIBRARY IMAGE GRAPH...\n");
    return 2;
  }
  label_image::SetEnvironment(1);
  const auto backend = label_image::LoadBackend("tensorflow", {argv[1]});
  label_image::loaded = &backend;
  for (int i = 3; i < argc; ++i) label_image::RunInChild(argv[2], argv[i]);
}
