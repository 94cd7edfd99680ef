// label_image: classifies images with a frozen graph, evaluates the graph, or measures its latency.

#include <unistd.h>

#include <cstdio>
#include <new>

#include "commands.h"
#include "error.h"
#include "feed.h"
#include "file.h"
#include "file_kind.h"
#include "flags.h"
#include "graph/graph.h"
#include "runtime/crash_handler.h"
#include "runtime/memory_limit.h"
#include "runtime/network.h"
#include "runtime/session_config.h"
#include "runtime/tensorflow.h"

namespace label_image {
namespace {

int Run(int argc, char** argv) {
  Flags flags = ParseFlags(argc, argv);
  if (flags.help) {
    fputs(HelpText().c_str(), stdout);
    return 0;
  }
  // Read the files first: loading TensorFlow takes about a second, and mistakes show up sooner.
  const Graph graph(Feed(ReadGraphFile(flags.graph), flags.graph, flags.feeds), flags.graph);
  if (!flags.session_config.empty()) flags.network.config = ReadFile(flags.session_config);
  flags.network.only_timed = flags.benchmark;
  InstallCrashHandler();
  SetEnvironment(flags.network.threads);
  const TensorFlow tf = LoadTensorFlow(flags.library);
  LimitMemory(flags.memory_limit);
  Network network(tf, graph, flags.network);
  return RunCommand(flags, &network);
}

int ExitCode(int argc, char** argv) {
  try {
    return Run(argc, argv);
  } catch (const UsageError& error) {
    PrintError(error.what());
    return 2;
  } catch (const Error& error) {
    PrintError(error.what());
  } catch (const std::bad_alloc&) {
    PrintError("not enough memory");
  }
  return 1;
}

}  // namespace
}  // namespace label_image

int main(int argc, char** argv) {
  int code = label_image::RunOnLargeStack(label_image::ExitCode, argc, argv);
  if (fflush(stdout) != 0 && code == 0) {
    label_image::PrintError("cannot write to stdout");
    code = 1;
  }
  // Skip the destructors of the library's static objects: some of them wait for threads.
  _exit(code);
}
