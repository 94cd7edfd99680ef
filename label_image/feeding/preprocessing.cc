#include "feeding/preprocessing.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

#include "error.h"

namespace label_image {
namespace {

constexpr size_t kChannels = 3;

// Scale an image to mean 0 and standard deviation 1, as tf.image.per_image_standardization does:
// the deviation is at least 1 / sqrt(count), for images of a single colour.
void StandardizePerImage(float* image, size_t count) {
  double sum = 0, squares = 0;
  for (size_t i = 0; i < count; ++i) sum += image[i];
  const double mean = sum / count;
  for (size_t i = 0; i < count; ++i) squares += (image[i] - mean) * (image[i] - mean);
  const double deviation = std::max(std::sqrt(squares / count), 1 / std::sqrt(1. * count));
  for (size_t i = 0; i < count; ++i) {
    image[i] = static_cast<float>((image[i] - mean) / deviation);
  }
}

// Return the numbers of a flag, one for each channel.
std::vector<double> ParseNumbers(const std::string& flag, const std::string& text, double least) {
  std::vector<double> numbers;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    char* end = nullptr;
    numbers.push_back(strtod(part.c_str(), &end));
    if (part.empty() || *end || !std::isfinite(numbers.back()) || numbers.back() < least) {
      numbers.clear();
      break;
    }
  }
  const bool lacks_last = !text.empty() && text.back() == ',';
  if (lacks_last || (numbers.size() != 1 && numbers.size() != kChannels)) {
    throw UsageError("--", flag, " must be a number", least > 0 ? " above 0" : "",
                     ", or three with commas, not ", Quote(text));
  }
  numbers.resize(kChannels, numbers[0]);
  return numbers;
}

std::string NumbersText(const std::vector<double>& numbers) {
  const bool equal = std::equal(numbers.begin() + 1, numbers.end(), numbers.begin());
  return equal ? Format("%g", numbers[0])
               : Format("[%g, %g, %g]", numbers[0], numbers[1], numbers[2]);
}

}  // namespace

Preprocessing::Preprocessing(const std::string& standardize, const std::string& mean,
                             const std::string& std)
    : per_image_(standardize == "per_image"), none_(standardize == "none") {
  if (!standardize.empty() && !per_image_ && !none_) {
    throw UsageError("--standardize must be per_image or none, not " + Quote(standardize));
  }
  if (mean.empty() && std.empty()) return;
  if (!standardize.empty()) {
    throw UsageError("give either --standardize, or --input_mean and --input_std");
  }
  mean_ = ParseNumbers("input_mean", mean.empty() ? "0" : mean, -1e30);
  std_ = ParseNumbers("input_std", std.empty() ? "1" : std, 1e-30);
}

void Preprocessing::RequireOneChannel() const {
  for (const auto& numbers : {mean_, std_}) {
    if (!numbers.empty() && (numbers[0] != numbers[1] || numbers[0] != numbers[2])) {
      throw UsageError("--input_mean and --input_std must be one number for grey images");
    }
  }
}

void Preprocessing::Apply(float* image, size_t pixels, size_t channels) const {
  if (per_image_) StandardizePerImage(image, channels * pixels);
  if (mean_.empty()) return;
  for (size_t i = 0; i < pixels; ++i) {
    for (size_t c = 0; c < channels; ++c, ++image) {
      *image = static_cast<float>((*image - mean_[c]) / std_[c]);
    }
  }
}

std::string Preprocessing::Describe() const {
  if (per_image_) return "standardized per image";
  if (mean_.empty()) return "pixels 0 to 255";
  return "(x - " + NumbersText(mean_) + ") / " + NumbersText(std_);
}

}  // namespace label_image
