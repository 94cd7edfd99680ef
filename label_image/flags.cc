#include "flags.h"

#include <cerrno>
#include <cstdlib>
#include <variant>

#include "backends/processor.h"
#include "did_you_mean.h"
#include "error.h"

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
  ModelOptions* model = &flags->model;
  NetworkOptions* network = &flags->network;
  return {
      {"graph", &flags->graph, "model to run: a frozen graph (.pb), .tflite, .onnx or .xml"},
      {"graph_name", &flags->graph_name,
       "name to show for the graph; default: its path. If it names the SavedModel directory or "
       ".pbtxt file that the graph was converted from, the .json next to that is read"},
      {"runtime", &flags->runtime,
       "tensorflow (default for .pb), litert (.tflite), onnxruntime (.onnx) or openvino (.xml)"},
      {"library", &flags->libraries,
       "library of the runtime, or directory with one, e.g. .venv/tf2; may be repeated"},
      {"labels", &flags->labels, "file of class names, one per line; default: those in the graph"},
      {"top", &flags->top, "number of labels to print per image; default: 3", 1, 100000},
      {"batch_file", &flags->batch_files,
       "labelled images to evaluate: CIFAR binary file or TFRecords; may be repeated"},
      {"label_bytes", &flags->label_bytes,
       "label bytes per CIFAR record, of which the last is used: 1 (default), 2 for CIFAR-100",
       1, 2},
      {"limit", &flags->limit, "evaluate only the first N images"},
      {"predictions", &flags->predictions,
       "file to write: index, label, prediction and probabilities of each image"},
      {"benchmark", &flags->benchmark, "measure latency on random images"},
      {"compare", &flags->compare,
       "measure the latency of several models in turn, and with --batch_file their accuracy, in "
       "batches of 100"},
      {"batch_size", &flags->batch_size,
       "images per run; default: 1 with --benchmark or --compare, else 100", 1, 100000},
      {"threads", &model->threads,
       "threads; default: 1 with --benchmark or --compare, else all processors", 1, 1024},
      {"warmup", &flags->warmup, "untimed runs before the timed ones; default: 20", 1, 1000000},
      {"runs", &flags->runs, "timed runs per repeat; default: 100", 1, 1000000},
      {"repeats", &flags->repeats, "number of repeats; default: 5", 1, 1000},
      {"precision", &model->precision,
       "float32 (default), or bfloat16 on a processor with bfloat16 instructions: faster for some "
       "models"},
      {"profile", &flags->profile,
       "with --benchmark and the runtime tensorflow: also print the time of each operation"},
      {"json", &flags->json, "print one JSON object instead of text"},
      {"node", &model->node, "node to feed; default: images, inputs, or the only placeholder"},
      {"output", &model->output,
       "node to fetch; default: predictions, probabilities, or the only output"},
      {"feed", &flags->feeds,
       "NAME=VALUE of another placeholder, such as keep_prob=1 or is_training=false; may be "
       "repeated"},
      {"image_size", &network->image_size,
       "side, in pixels, of the images that the graph receives, if the graph leaves it open; with "
       "--crop_size: of the images before the crop, default: 32, or the crop if it is larger",
       1, 10000},
      {"crop_size", &network->crop_size,
       "side, in pixels, of the central crop that the graph receives, if the graph leaves it open",
       1, 10000},
      {"input_width", &network->input_width,
       "width of the images that the graph receives, if the graph leaves it open", 1, 10000},
      {"input_height", &network->input_height, "see --input_width", 1, 10000},
      {"standardize", &network->standardize,
       "how pixels become floats: per_image (mean 0, standard deviation 1) or none (0 to 255; "
       "default)"},
      {"input_mean", &network->input_mean,
       "how pixels become floats: (x - mean) / std; one number, or R,G,B; default: 0"},
      {"input_std", &network->input_std, "see --input_mean; default: 1"},
      {"output_kind", &network->output_kind,
       "what the graph returns: logits, softmax, sigmoid or raw; default: as the graph says"},
      {"allow_any_op", &model->allow_any_op,
       "also run operations that inference does not need, of any size; they can write files: never "
       "use it for a graph that you do not trust"},
      {"memory_limit", &flags->memory_limit,
       "memory for the graph, in MB; default: three quarters of the available memory"},
      {"session_config", &flags->session_config,
       "file with a serialized ConfigProto for the runtime tensorflow, instead of the default"},
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
    **number = static_cast<int>(value);
  } else if (const auto list = std::get_if<StringList*>(&spec.value)) {
    (*list)->push_back(text);
  } else {
    *std::get<std::string*>(spec.value) = text;
  }
}

// Names that other programs, such as TensorFlow's label_image, have for these flags.
constexpr const char* kAliases[][2] = {
    {"h", "help"}, {"input_layer", "node"}, {"output_layer", "output"}};

// What the user types for the help text; label_image.sh has another one.
std::string HelpFlag() {
  const char* command = getenv("LABEL_IMAGE_HELP");
  return command ? command : "--help";
}

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
                   " (", HelpFlag(), " lists all flags)");
}

void CheckFlags(const Flags& flags) {
  if (flags.graph.empty() && flags.compared.empty()) {
    throw UsageError("no graph: give --graph FILE (", HelpFlag(), " lists all flags)");
  }
  Preprocessing(flags.network.standardize, flags.network.input_mean, flags.network.input_std);
  const int commands = flags.compare ? 1 + flags.benchmark
                                     : !flags.images.empty() + !flags.batch_files.empty() +
                                           flags.benchmark;
  if (commands == 0) {
    throw UsageError("nothing to do: give images, --batch_file, --benchmark or --compare");
  }
  if (commands > 1) {
    throw UsageError("give only one of images, --batch_file, --benchmark and --compare");
  }
  if (flags.batch_files.empty() &&
      (flags.limit || flags.label_bytes || !flags.predictions.empty())) {
    throw UsageError("--limit, --label_bytes and --predictions require --batch_file");
  }
  const std::string& precision = flags.model.precision;
  if (precision != "float32" && precision != "bfloat16") {
    throw UsageError("--precision must be float32 or bfloat16, not ", Quote(precision));
  }
  if (flags.compare && !flags.predictions.empty()) {
    throw UsageError("--predictions is for a single model, not for --compare");
  }
  if (!flags.benchmark && !flags.compare && (flags.warmup || flags.runs || flags.repeats)) {
    throw UsageError("--warmup, --runs and --repeats require --benchmark or --compare");
  }
  if (flags.profile && !flags.benchmark) throw UsageError("--profile requires --benchmark");
  if (flags.top && flags.images.empty()) throw UsageError("--top requires images");
  if (!flags.labels.empty() && (flags.benchmark || flags.compare)) {
    throw UsageError("--labels requires images or --batch_file");
  }
  if (!flags.graph_name.empty() && flags.graph.empty()) {
    throw UsageError("--graph_name requires --graph");
  }
  if (flags.model.threads && !flags.session_config.empty()) {
    throw UsageError("--threads has no effect with --session_config: set the number of threads in "
                     "that file");
  }
  const NetworkOptions& network = flags.network;
  if ((network.image_size || network.crop_size) && (network.input_width || network.input_height)) {
    throw UsageError("--image_size and --crop_size cannot be combined with --input_width and "
                     "--input_height");
  }
}

// Set the flags that the arguments give. Those without a dash become images.
void ReadArguments(int argc, char** argv, Flags* flags) {
  const std::vector<FlagSpec> specs = FlagSpecs(flags);
  bool only_images = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.empty()) {
      throw UsageError("an argument is empty: leave it out, or give it a value");
    }
    if (only_images || argument.size() < 2 || argument[0] != '-') {
      flags->images.push_back(argument);
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
}

// 0 stands for the default until then, so that CheckFlags sees which flags are given.
void SetDefaults(Flags* flags) {
  const bool timed = flags->benchmark || flags->compare;
  if (!flags->top) flags->top = 3;
  if (!flags->batch_size) flags->batch_size = timed ? 1 : 100;
  if (!flags->warmup) flags->warmup = 20;
  if (!flags->runs) flags->runs = 100;
  if (!flags->repeats) flags->repeats = 5;
  if (!flags->label_bytes) flags->label_bytes = 1;
  if (!flags->model.threads) flags->model.threads = timed ? 1 : CountProcessors();
}

}  // namespace

Flags ParseFlags(int argc, char** argv) {
  Flags flags;
  ReadArguments(argc, argv, &flags);
  if (flags.help) return flags;
  if (flags.compare) {
    if (!flags.graph.empty()) flags.compared.push_back(flags.graph);
    flags.compared.insert(flags.compared.end(), flags.images.begin(), flags.images.end());
    flags.images.clear();
  }
  CheckFlags(flags);
  SetDefaults(&flags);
  return flags;
}

std::string HelpText() {
  std::string text =
      "usage: label_image --graph FILE [--library PATH] IMAGE...\n"
      "       label_image --graph FILE [--library PATH] --batch_file FILE [--limit N]\n"
      "       label_image --graph FILE [--library PATH] --benchmark [--batch_size N]\n"
      "       label_image --compare [--batch_file FILE] [RUNTIME[/PRECISION]=]FILE...\n\n"
      "Classifies images (PNG, JPEG or BMP of any size; the central square is resized),\n"
      "evaluates files of labelled images, measures the latency of a model, or compares\n"
      "several (.pb, .tflite, .onnx, .xml).\n\n";
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
