#include "error.h"

#include <unistd.h>

#include <cstdio>
#include <new>

namespace label_image {

int error_fd = STDERR_FILENO;

namespace {
char handler_name[400] = "";  // with ": "
}

void NameInHandlers(const std::string& name) {
  snprintf(handler_name, sizeof(handler_name), "%s: ", OneLine(name).c_str());
}

void WriteError(std::initializer_list<std::string_view> texts) {
  const auto write_text = [](std::string_view text) {
    return write(error_fd, text.data(), text.size()) >= 0;
  };
  bool written = write_text("label_image: ") && write_text(handler_name);
  for (std::string_view text : texts) written = written && write_text(text);
  if (written) write_text("\n");
}

std::string WithPath(const std::string& path, const std::string& message) {
  const auto ends = [&message](size_t at, std::string_view characters) {
    return at >= message.size() || characters.find(message[at]) != characters.npos;
  };
  // A whole word: "a.pb" is not part of "data.pb". `at` - 1 is beyond the end if `at` is 0.
  for (size_t at = message.find(path); at != message.npos; at = message.find(path, at + 1)) {
    if (ends(at - 1, " '\"(") && ends(at + path.size(), " '\"),:")) return message;
  }
  return path + ": " + message;
}

void PrintError(const std::string& message) {
  fflush(stdout);
  dprintf(error_fd, "label_image: %s\n", OneLine(message, 1000).c_str());
}

int ExitCode(const std::function<int()>& action, const std::string& name) {
  try {
    return action();
  } catch (const UsageError& error) {
    PrintError(error.what());
    return 2;
  } catch (const Error& error) {
    PrintError(error.what());
  } catch (const std::bad_alloc&) {
    PrintError((name.empty() ? "" : Printable(name) + ": ") + "not enough memory");
  }
  return 1;
}

}  // namespace label_image
