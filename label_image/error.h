// Errors: each is one line on stderr and an exit code.
#pragma once

#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

#include "text.h"

namespace label_image {

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

// Print "label_image: " and the message as one line on stderr.
void PrintError(const std::string& message);

// Return what `action` returns, or print its error and return that error's exit code. If there is
// not enough memory, the line begins with `name`.
int ExitCode(const std::function<int()>& action, const std::string& name = "");

// The file descriptor that PrintError writes to. InstallCrashHandler changes it.
extern int error_fd;

// Let handlers that cannot allocate memory begin their line with "label_image: `name`: ".
void NameInHandlers(const std::string& name);

// Write the line "label_image: NAME: " + `texts` to error_fd. Signal handlers may call it.
void WriteError(std::initializer_list<std::string_view> texts);

}  // namespace label_image
