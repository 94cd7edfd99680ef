#include "flags.h"

#include <cerrno>
#include <cstdlib>

#include "error.h"
#include "nearest.h"

namespace label_image {
namespace {

// One of `text`, `number`, `flag` and `list` is set.
struct Row {
  const char* name;
  const char* help;
  std::string Flags::*text = nullptr;
  int Flags::*number = nullptr;
  bool Flags::*flag = nullptr;
  std::vector<std::string> Flags::*list = nullptr;  // given again, it adds
  int least = 1, most = 1000000000;
};

std::vector<Row> Rows() {
  const auto text = [](const char* name, std::string Flags::*member, const char* help) {
    return Row{name, help, member};
  };
  const auto number = [](const char* name, int Flags::*member, int least, int most,
                         const char* help) {
    return Row{name, help, nullptr, member, nullptr, nullptr, least, most};
  };
  const auto flag = [](const char* name, bool Flags::*member, const char* help) {
    return Row{name, help, nullptr, nullptr, member};
  };
  return {
      text("graph", &Flags::graph, "the frozen graph (GraphDef)"),
      text("library", &Flags::library,
           "TensorFlow: a library, or a directory (virtual environment, package, libtensorflow)"),
      text("labels", &Flags::labels, "a file of labels, one a line; else those in the graph"),
      number("top", &Flags::top, 1, 100000, "how many labels to print for an image"),
      Row{"batch_file",
          "a binary file of CIFAR-10 or CIFAR-100, or TFRecords of tools/make_tfrecords.py, to "
          "evaluate; again for more",
          nullptr, nullptr, nullptr, &Flags::batch_files},
      number("label_bytes", &Flags::label_bytes, 1, 2,
             "label bytes of a CIFAR record, of which the last counts: 1, or 2 for CIFAR-100"),
      number("limit", &Flags::limit, 1, 1000000000, "evaluate only the first images"),
      text("predictions", &Flags::predictions,
           "file to write: index, label, prediction, probabilities of each image of --batch_file"),
      flag("benchmark", &Flags::benchmark, "time the graph on random images"),
      number("batch_size", &Flags::batch_size, 1, 100000,
             "images a run: 1 in a benchmark, else 100"),
      number("threads", &Flags::threads, 1, 1024,
             "threads: 1 in a benchmark, else all processors"),
      number("warmup", &Flags::warmup, 1, 1000000, "runs before those that count"),
      number("runs", &Flags::runs, 1, 1000000, "runs in a repeat"),
      number("repeats", &Flags::repeats, 1, 1000, "repeats"),
      flag("profile", &Flags::profile, "with --benchmark: the time of each operation"),
      flag("json", &Flags::json, "print one JSON value"),
      text("node", &Flags::node, "node to feed: images (default) or inputs, past preprocessing"),
      text("output", &Flags::output, "node to fetch: predictions (default) or probabilities"),
      number("image_size", &Flags::image_size, 1, 10000,
             "side of the images, where the graph does not say it (32)"),
      number("crop_size", &Flags::crop_size, 1, 10000,
             "for graphs without `images`: side of the centre that is fed"),
      text("standardize", &Flags::standardize,
           "for graphs without `images`: per_image or none"),
      flag("allow_any_op", &Flags::allow_any_op,
           "run operations that do not belong in inference (files, network, variables ...)"),
      text("session_config", &Flags::config, "a file with a serialized ConfigProto, to try"),
      flag("help", &Flags::help, "this text"),
  };
}

int ParseNumber(const Row& row, const std::string& value) {
  char* end = nullptr;
  errno = 0;
  const long number = strtol(value.c_str(), &end, 10);
  if (value.empty() || *end || errno || number < row.least || number > row.most) {
    throw UsageError(Format("--%s must be a number from %d to %d, not '%s'", row.name, row.least,
                            row.most, OneLine(value, 50).c_str()));
  }
  return static_cast<int>(number);
}

}  // namespace

Flags ParseFlags(int argc, char** argv) {
  Flags flags;
  const std::vector<Row> rows = Rows();
  std::vector<std::string> names;
  for (const Row& row : rows) names.push_back(row.name);
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
    const std::string name =
        argument.substr(start, equals == argument.npos ? equals : equals - start);
    const Row* found = nullptr;
    for (const Row& row : rows) {
      if (name == row.name || (name == "h" && std::string(row.name) == "help")) found = &row;
    }
    if (!found) {
      throw UsageError("unknown flag '--" + OneLine(name, 50) + "'" + DidYouMean(name, names) +
                       " (--help lists them)");
    }
    if (found->flag) {
      if (equals != argument.npos) throw UsageError("--" + name + " takes no value");
      flags.*found->flag = true;
      continue;
    }
    if (equals == argument.npos && i + 1 == argc) throw UsageError("--" + name + " needs a value");
    const std::string value = equals == argument.npos ? argv[++i] : argument.substr(equals + 1);
    if (found->number) {
      flags.*found->number = ParseNumber(*found, value);
    } else if (value.empty()) {
      throw UsageError("--" + name + " is empty");
    } else if (found->list) {
      (flags.*found->list).push_back(value);
    } else {
      flags.*found->text = value;
    }
  }
  if (flags.help) return flags;
  if (flags.graph.empty()) throw UsageError("which graph? give --graph FILE (--help lists flags)");
  if (!flags.standardize.empty() && flags.standardize != "per_image" &&
      flags.standardize != "none") {
    throw UsageError("--standardize must be per_image or none, not '" +
                     OneLine(flags.standardize, 50) + "'");
  }
  const int tasks = !flags.images.empty() + !flags.batch_files.empty() + flags.benchmark;
  if (tasks == 0) throw UsageError("nothing to do: name images, or --batch_file, or --benchmark");
  if (tasks > 1) throw UsageError("give images or --batch_file or --benchmark, one at a time");
  if (flags.batch_files.empty() &&
      (flags.limit || flags.label_bytes || !flags.predictions.empty())) {
    throw UsageError("--limit, --label_bytes and --predictions go with --batch_file");
  }
  if (flags.profile && !flags.benchmark) throw UsageError("--profile goes with --benchmark");
  return flags;
}

std::string Usage() {
  std::string text =
      "usage: label_image --graph FILE [--library PATH] IMAGE...\n"
      "       label_image --graph FILE [--library PATH] --batch_file FILE [--limit N]\n"
      "       label_image --graph FILE [--library PATH] --benchmark [--batch_size N]\n\n"
      "Classifies images (PNG, JPEG or BMP of any size: the middle square is resized),\n"
      "evaluates files of labelled images, or times a frozen graph.\n\n";
  for (const Row& row : Rows()) {
    const std::string name =
        std::string(row.name) + (row.text || row.list ? " TEXT" : row.number ? " N" : "");
    text += Format("  --%-20s %s\n", name.c_str(), row.help);
  }
  return text + "\nexit codes: 0 done, 1 failed, 2 usage\n";
}

}  // namespace label_image
