// The command line.

#ifndef LABEL_IMAGE_FLAGS_H_
#define LABEL_IMAGE_FLAGS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace label_image {

struct Flags {
  std::string graph, library, labels, node, output, standardize, predictions, config;
  std::vector<std::string> images, batch_files;
  int top = 3, label_bytes = 0, image_size = 0, crop_size = 0, threads = 0, batch_size = 0;
  int limit = 0, warmup = 20, runs = 100, repeats = 5;
  bool allow_any_op = false, benchmark = false, profile = false, json = false, help = false;
};

// Throws UsageError, naming the nearest flag for one that is not known.
Flags ParseFlags(int argc, char** argv);

// What --help prints.
std::string Usage();

}  // namespace label_image

#endif  // LABEL_IMAGE_FLAGS_H_
