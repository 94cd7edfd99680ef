// How pixels become the floats that a graph is fed, as flags state it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace label_image {

class Preprocessing {
 public:
  // `standardize` is "per_image", "none" or "". `mean` and `std` are numbers, one for all channels
  // or three with commas in between, or "" for 0 and 1. Throws UsageError.
  Preprocessing(const std::string& standardize, const std::string& mean, const std::string& std);

  // Return whether no flag says anything.
  bool empty() const { return !per_image_ && !none_ && mean_.empty(); }

  // Throw UsageError if a number is stated for each of three channels.
  void RequireOneChannel() const;

  // Change `pixels` pixels of `channels` values from 0 to 255.
  void Apply(float* image, size_t pixels, size_t channels) const;

  // Return e.g. "(x - 128) / 127.5".
  std::string Describe() const;

 private:
  bool per_image_, none_;
  std::vector<double> mean_, std_;  // empty, or one for each channel
};

}  // namespace label_image
