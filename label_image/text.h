// Text: made of values, measured in characters, and made safe to print.
#pragma once

#include <sstream>
#include <string>
#include <string_view>

namespace label_image {

// Return all values as operator<< prints them.
template <typename... Values>
std::string Concat(const Values&... values) {
  std::ostringstream text;
  (text << ... << values);
  return text.str();
}

// Return what printf would print.
std::string Format(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Return the length in bytes of the UTF-8 character that `text` begins with, or 0 if the bytes are
// not valid UTF-8.
size_t CharacterLength(std::string_view text);

// Return the number of characters of `text`.
size_t CountCharacters(std::string_view text);

// Return `text` with spaces after it, so that it has at least `width` characters.
std::string Padded(const std::string& text, size_t width);

// Return `text` with line breaks, control characters, invisible characters and bytes that are not
// valid UTF-8 as \n, \x1b and such, as permafrost.errors.printable does.
std::string Printable(std::string_view text);

// Return the first `max_size` bytes of `text`, Printable, with spaces for line breaks and tabs. For
// all text that comes from a file.
std::string OneLine(std::string_view text, size_t max_size = 300);

// The longest class name, in bytes: those of ImageNet have up to 121.
constexpr size_t kMaxClassName = 10000;

// Return the first 100 bytes of `name` on one line, in single quotes.
std::string Quote(std::string_view name);

}  // namespace label_image
