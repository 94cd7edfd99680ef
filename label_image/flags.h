// The command line.
#pragma once

#include <string>
#include <vector>

#include "inference/network.h"

namespace label_image {

// The values of the flags; flags.cc documents each.
struct Flags {
  std::string graph, graph_name, runtime, labels, predictions, session_config;
  std::vector<std::string> libraries, images, batch_files, feeds;
  std::vector<std::string> compared;  // models; empty without --compare
  ModelOptions model;
  NetworkOptions network;
  int top = 0, label_bytes = 0, batch_size = 0, limit = 0, warmup = 0, runs = 0, repeats = 0;
  int memory_limit = 0;  // MB; 0: see memory_limit.h
  bool benchmark = false, compare = false, profile = false, json = false, help = false;
};

// Parse and check the command line. Throws UsageError.
Flags ParseFlags(int argc, char** argv);

// Return the text that --help prints.
std::string HelpText();

}  // namespace label_image
