// The two ways to end that are not success: each is one line on stderr and an exit code.

#ifndef LABEL_IMAGE_ERROR_H_
#define LABEL_IMAGE_ERROR_H_

#include <stdexcept>
#include <string>

namespace label_image {

// What was asked could not be done: exit code 1.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What was asked makes no sense: exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// printf into a string.
std::string Format(const char* format, ...) __attribute__((format(printf, 1, 2)));

// `text` on one line, without control characters, at most `most` bytes: names come from files.
std::string OneLine(std::string_view text, size_t most = 300);

}  // namespace label_image

#endif  // LABEL_IMAGE_ERROR_H_
