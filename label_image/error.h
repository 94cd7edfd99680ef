// Errors: each is one line on stderr and an exit code.
#pragma once

#include <initializer_list>
#include <sstream>
#include <stdexcept>
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

// The program could not do what it was asked to do: exit code 1.
struct Error : std::runtime_error {
  template <typename... Values>
  explicit Error(const Values&... values) : runtime_error(Concat(values...)) {}
};

// The flags are wrong: exit code 2.
struct UsageError : Error {
  using Error::Error;
};

// Return `message` with `path` in front, unless it names the path already.
std::string WithPath(const std::string& path, const std::string& message);

// Return what `action` returns. Its errors name `path`: a runtime does not know the file, and says
// only what is wrong with it.
template <typename Action>
auto NamingFile(const std::string& path, const Action& action) {
  try {
    return action();
  } catch (const UsageError& error) {
    throw UsageError(WithPath(path, error.what()));
  } catch (const Error& error) {
    throw Error(WithPath(path, error.what()));
  }
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

// Print "label_image: " and the message as one line on stderr.
void PrintError(const std::string& message);

// The file descriptor that PrintError writes to. InstallCrashHandler changes it.
extern int error_fd;

// Let handlers that cannot allocate memory begin their line with "label_image: `name`: ".
void NameInHandlers(const std::string& name);

// Write the line "label_image: NAME: " + `texts` to error_fd. Signal handlers may call it.
void WriteError(std::initializer_list<std::string_view> texts);

}  // namespace label_image
