#include "open.h"

#include <filesystem>
#include <system_error>

#include "backends/load.h"
#include "backends/processor.h"
#include "backends/tensorflow/session_config.h"
#include "error.h"
#include "file.h"
#include "process/crash_handler.h"
#include "process/memory_limit.h"

namespace label_image {
namespace {

// Throw UsageError if the flags are for another runtime, Error if they are for another processor.
void CheckRuntime(const Flags& flags, const std::string& runtime) {
  if (flags.model.precision == "bfloat16") {
    if (!flags.session_config.empty()) {
      throw UsageError("--precision bfloat16 and --session_config cannot be combined");
    }
    if (runtime != "tensorflow" && runtime != "openvino") {
      throw UsageError("--precision bfloat16 is for the runtimes tensorflow and openvino, not ",
                       runtime);
    }
    CheckBfloat16();
  }
  if (runtime == "tensorflow") return;
  const bool is_graph = ChooseRuntime(flags.graph, "") == "tensorflow";  // by its suffix
  if (flags.model.allow_any_op && (runtime != "openvino" || !is_graph)) {
    throw UsageError("--allow_any_op is for a frozen graph (.pb) with the runtimes tensorflow and "
                     "openvino");
  }
  if (flags.profile) throw UsageError("--profile is for the runtime tensorflow, not ", runtime);
  if (!flags.session_config.empty()) {
    throw UsageError("--session_config is for the runtime tensorflow, not ", runtime);
  }
}

}  // namespace

void ReadSessionConfig(Flags* flags) {
  std::string config = ReadFile(flags->session_config);
  flags->model.threads =
      NamingFile(flags->session_config, [&config] { return StateThreads(&config); });
  flags->model.config = config;
}

int RunWithModel(Flags flags, const Command& command) {
  // Read the files first: loading TensorFlow takes about a second, and mistakes show up sooner.
  const std::string name = flags.graph_name.empty() ? flags.graph : flags.graph_name;
  const std::string runtime = ChooseRuntime(flags.graph, flags.runtime);
  CheckRuntime(flags, runtime);
  NameInHandlers(name);
  LimitMemory(flags.memory_limit);
  ModelFile file = NamingFile(
      name, [&] { return ReadModelFile(flags.graph, runtime, flags.feeds, name); });
  // label_image.sh converts these, and names what it has converted.
  std::error_code ignored;  // a name need not be that of a file
  const bool is_converted =
      std::filesystem::is_directory(name, ignored) || EndsWith(name, ".pbtxt");
  flags.network.card_path = is_converted ? name : flags.graph;
  flags.network.only_timed = flags.benchmark || (flags.compare && flags.batch_files.empty());
  InstallCrashHandler();
  SetEnvironment(flags.model.threads);
  LiftMemoryLimit();
  const Backend backend = LoadBackend(runtime, flags.libraries);
  ForgetLog();
  LimitMemory(flags.memory_limit);
  const auto model = NamingFile(name, [&] { return backend.open(std::move(file), flags.model); });
  Network network(model.get(), flags.network);
  ForgetLog();
  return command(flags, backend, &network);
}

}  // namespace label_image
