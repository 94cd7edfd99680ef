#include "error.h"

#include <unistd.h>

#include <cstdarg>
#include <cstdio>

namespace label_image {

int error_fd = STDERR_FILENO;

std::string Format(const char* format, ...) {
  va_list arguments, copy;
  va_start(arguments, format);
  va_copy(copy, arguments);
  const int size = vsnprintf(nullptr, 0, format, arguments);
  va_end(arguments);
  std::string text(size < 0 ? 0 : size, '\0');
  vsnprintf(text.data(), text.size() + 1, format, copy);
  va_end(copy);
  return text;
}

std::string OneLine(std::string_view text, size_t max_size) {
  std::string line(text.substr(0, max_size));
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return text.size() > max_size ? line + "..." : line;
}

std::string Quote(std::string_view name) { return "'" + OneLine(name, 100) + "'"; }

void PrintError(const std::string& message) {
  fflush(stdout);
  dprintf(error_fd, "label_image: %s\n", OneLine(message, 1000).c_str());
}

}  // namespace label_image
