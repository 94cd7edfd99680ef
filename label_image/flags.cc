#include "flags.h"

#include <cerrno>
#include <cstdlib>
#include <variant>

#include "did_you_mean.h"
#include "error.h"
#include "runtime/session_config.h"

namespace label_image {
namespace {

using StringList = std::vector<std::string>;

struct FlagSpec {
  const char* name;
  std::variant<bool*, int*, std::string*, StringList*> value;  // a list may be given repeatedly
  const char* help;
  int min = 1, max = 1000000000;
};

std::vector<FlagSpec> FlagSpecs(Flags* flags) {
  NetworkOptions* network = &flags->network;
  return {
      {"graph", &flags->graph, "frozen graph to run (a GraphDef file)"},
      {"library", &flags->library, "TensorFlow library, or directory with one, e.g. .venv/tf2"},
      {"labels", &flags->labels, "file of class names, one per line; default: those in the graph"},
      {"top", &flags->top, "number of labels to print per image; default: 3", 1, 100000},
      {"batch_file", &flags->batch_files,
       "labelled images to evaluate: CIFAR binary file or TFRecords; may be repeated"},
      {"label_bytes", &flags->label_bytes,
       "label bytes per CIFAR record, the last is used: 1 (default), 2 for CIFAR-100", 1, 2},
      {"limit", &flags->limit, "evaluate only the first N images"},
      {"predictions", &flags->predictions,
       "file to write: index, label, prediction and probabilities of each image"},
      {"benchmark", &flags->benchmark, "measure latency on random images"},
      {"batch_size", &flags->batch_size, "images per run; default: 1 with --benchmark, else 100",
       1, 100000},
      {"threads", &network->threads, "threads; default: 1 with --benchmark, else all processors",
       1, 1024},
      {"warmup", &flags->warmup, "untimed runs before the timed ones; default: 20", 1, 1000000},
      {"runs", &flags->runs, "timed runs per repeat; default: 100", 1, 1000000},
      {"repeats", &flags->repeats, "number of repeats; default: 5", 1, 1000},
      {"profile", &flags->profile, "with --benchmark: also print the time of each operation"},
      {"json", &flags->json, "print one JSON object instead of text"},
      {"node", &network->node, "node to feed; default: images, inputs, or the only placeholder"},
      {"output", &network->output,
       "node to fetch; default: predictions, probabilities, or the only output"},
      {"feed", &flags->feeds,
       "NAME=VALUE of another placeholder, such as keep_prob=1 or is_training=false; may be "
       "repeated"},
      {"image_size", &network->image_size,
       "side of the images that the graph receives, if it does not say; with --crop_size: of the "
       "images before the crop, default 32", 1, 10000},
      {"crop_size", &network->crop_size,
       "side of the central crop that the graph receives, if it does not say", 1, 10000},
      {"standardize", &network->standardize,
       "how pixels become floats: per_image (mean 0, deviation 1), or none (0 to 255)"},
      {"input_mean", &network->input_mean,
       "how pixels become floats: (x - mean) / std; one number, or R,G,B; default: 0"},
      {"input_std", &network->input_std, "see --input_mean; default: 1"},
      {"output_kind", &network->output_kind,
       "what the graph returns: logits, softmax, sigmoid or raw; default: what it says"},
      {"allow_any_op", &network->allow_any_op, "also run operations that inference does not need"},
      {"memory_limit", &flags->memory_limit,
       "memory for the graph, in MB; default: three quarters of what is available"},
      {"session_config", &flags->session_config, "file of a ConfigProto that replaces the default"},
      {"help", &flags->help, "print this text and exit; also -h"},
  };
}

// `name` is that of the flag or its alias.
void SetValue(const FlagSpec& spec, const std::string& name, const std::string& text) {
  if (text.empty()) throw UsageError("--", name, " is empty");
  if (const auto number = std::get_if<int*>(&spec.value)) {
    char* end = nullptr;
    errno = 0;
    const long value = strtol(text.c_str(), &end, 10);
    if (*end || errno || value < spec.min || value > spec.max) {
      throw UsageError("--", name, " must be an integer from ", spec.min, " to ", spec.max,
                       ", not ", Quote(text));
    }
    if ((name == "input_width" || name == "input_height") && **number && **number != value) {
      throw UsageError("--input_width and --input_height differ: only square images can be fed");
    }
    **number = static_cast<int>(value);
  } else if (const auto list = std::get_if<StringList*>(&spec.value)) {
    (*list)->push_back(text);
  } else {
    *std::get<std::string*>(spec.value) = text;
  }
}

// Names that other programs, such as TensorFlow's label_image, have for these flags.
constexpr const char* kAliases[][2] = {
    {"h", "help"}, {"input_layer", "node"}, {"output_layer", "output"},
    {"input_width", "image_size"}, {"input_height", "image_size"}};

const FlagSpec& FindSpec(const std::vector<FlagSpec>& specs, const std::string& name) {
  StringList names;
  for (const auto& [alias, flag] : kAliases) {
    if (name == alias) return FindSpec(specs, flag);
  }
  for (const FlagSpec& spec : specs) {
    if (name == spec.name) return spec;
    names.push_back(spec.name);
  }
  throw UsageError("unknown flag --", OneLine(name, 50), DidYouMean(name, names),
                   " (--help lists all flags)");
}

void CheckFlags(const Flags& flags) {
  if (flags.graph.empty()) throw UsageError("no graph: give --graph FILE (--help lists all flags)");
  Preprocessing(flags.network.standardize, flags.network.input_mean, flags.network.input_std);
  const int commands = !flags.images.empty() + !flags.batch_files.empty() + flags.benchmark;
  if (commands == 0) throw UsageError("nothing to do: give images, --batch_file or --benchmark");
  if (commands > 1) throw UsageError("give only one of images, --batch_file and --benchmark");
  if (flags.batch_files.empty() &&
      (flags.limit || flags.label_bytes || !flags.predictions.empty())) {
    throw UsageError("--limit, --label_bytes and --predictions require --batch_file");
  }
  if (flags.profile && !flags.benchmark) throw UsageError("--profile requires --benchmark");
}

}  // namespace

Flags ParseFlags(int argc, char** argv) {
  Flags flags;
  const std::vector<FlagSpec> specs = FlagSpecs(&flags);
  bool only_images = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (only_images || argument.size() < 2 || argument[0] != '-') {
      flags.images.push_back(argument);
      continue;
    }
    if (argument == "--") {
      only_images = true;
      continue;
    }
    const size_t start = argument[1] == '-' ? 2 : 1, equals = argument.find('=');
    const std::string name = argument.substr(start, equals - start);
    const FlagSpec& spec = FindSpec(specs, name);
    if (const auto flag = std::get_if<bool*>(&spec.value)) {
      if (equals != argument.npos) throw UsageError("--" + name + " takes no value");
      **flag = true;
    } else if (equals != argument.npos) {
      SetValue(spec, name, argument.substr(equals + 1));
    } else if (++i < argc) {
      SetValue(spec, name, argv[i]);
    } else {
      throw UsageError("--" + name + " needs a value");
    }
  }
  if (flags.help) return flags;
  CheckFlags(flags);
  if (!flags.batch_size) flags.batch_size = flags.benchmark ? 1 : 100;
  if (!flags.label_bytes) flags.label_bytes = 1;
  if (!flags.network.threads) flags.network.threads = flags.benchmark ? 1 : CountProcessors();
  return flags;
}

std::string HelpText() {
  std::string text =
      "usage: label_image --graph FILE [--library PATH] IMAGE...\n"
      "       label_image --graph FILE [--library PATH] --batch_file FILE [--limit N]\n"
      "       label_image --graph FILE [--library PATH] --benchmark [--batch_size N]\n\n"
      "Classifies images (PNG, JPEG or BMP of any size; the central square is resized),\n"
      "evaluates files of labelled images, or measures the latency of a frozen graph.\n\n";
  Flags flags;
  for (const FlagSpec& spec : FlagSpecs(&flags)) {
    const bool is_bool = std::holds_alternative<bool*>(spec.value);
    const bool is_number = std::holds_alternative<int*>(spec.value);
    const std::string name = spec.name + std::string(is_bool ? "" : is_number ? " N" : " TEXT");
    text += Format("  --%-20s %s\n", name.c_str(), spec.help);
  }
  return text + "\nexit codes: 0 done, 1 failed, 2 usage\n";
}

}  // namespace label_image
