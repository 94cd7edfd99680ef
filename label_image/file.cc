#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "error.h"

namespace label_image {
namespace {

Error SystemError(const std::string& path) { return Error(path, ": ", strerror(errno)); }

using File = std::unique_ptr<FILE, int (*)(FILE*)>;

// Return whether `path` is a pipe that the shell makes: bash has /dev/fd/63, zsh /proc/self/fd/11.
bool IsFromShell(const std::string& path) {
  return path == "/dev/stdin" || path.rfind("/dev/fd/", 0) == 0 ||
         path.rfind("/proc/self/fd/", 0) == 0;
}

// Open a file to read. Other pipes are refused, since they may never get a writer.
File OpenToRead(const std::string& path) {
  const int handle = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  File file(handle < 0 ? nullptr : fdopen(handle, "rb"), fclose);
  struct stat status;
  if (!file || fstat(handle, &status) != 0 || fcntl(handle, F_SETFL, 0) != 0) {
    throw SystemError(path);
  }
  if (S_ISFIFO(status.st_mode) && !IsFromShell(path)) {
    throw Error(path, ": not a regular file");
  }
  return file;
}

// Return whether `path`, such as /dev/stdout, is the file that a descriptor writes to. Opened a
// second time, that file would be overwritten from its beginning.
bool IsFileOf(int descriptor, const std::string& path) {
  struct stat file, output;
  return stat(path.c_str(), &file) == 0 && fstat(descriptor, &output) == 0 &&
         file.st_dev == output.st_dev && file.st_ino == output.st_ino;
}

}  // namespace

std::string ReadFile(const std::string& path, size_t max_size) {
  const File file = OpenToRead(path);
  std::string bytes;
  struct stat status;
  // A string that grows leaves memory behind, which counts in the peak that --benchmark prints.
  if (fstat(fileno(file.get()), &status) == 0 && static_cast<size_t>(status.st_size) <= max_size) {
    bytes.reserve(status.st_size);
  }
  char buffer[1 << 16];
  size_t size;
  while ((size = fread(buffer, 1, sizeof(buffer), file.get())) > 0) {
    if (bytes.size() + size > max_size) {
      throw Error(path, ": larger than the limit of ", max_size, " bytes");
    }
    bytes.append(buffer, size);
  }
  if (ferror(file.get())) throw SystemError(path);
  return bytes;
}

void WriteFile(const std::string& path, std::string_view bytes) {
  if (IsFileOf(STDOUT_FILENO, path)) {
    if (fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size()) return;
    throw SystemError(path);
  }
  struct stat status;
  const bool is_stderr = IsFileOf(STDERR_FILENO, path);
  const bool replace = !is_stderr && (lstat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode));
  const std::string target = replace ? Concat(path, '.', getpid(), ".tmp") : path;
  // After InstallCrashHandler, error_fd is what the user knows as stderr.
  FILE* file = is_stderr ? fdopen(dup(error_fd), "wb") : fopen(target.c_str(), "wb");
  if (!file) throw SystemError(path);
  bool written = fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  written = fclose(file) == 0 && written;
  if (!written || (replace && rename(target.c_str(), path.c_str()) != 0)) {
    const Error error = SystemError(path);
    if (replace) remove(target.c_str());
    throw error;
  }
}

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

std::vector<std::string> Lines(std::string_view text) {
  if (text.substr(0, 3) == "\xef\xbb\xbf") text.remove_prefix(3);  // the byte order mark
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find_first_of("\r\n"));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const size_t begin = std::min(line.find_first_not_of(" \t"), line.size());
    const size_t end = line.find_last_not_of(" \t") + 1;
    const std::string printed =
        OneLine(line.substr(begin, end - std::min(begin, end)), kMaxClassName);
    if (!printed.empty()) lines.push_back(printed);
  }
  return lines;
}

}  // namespace label_image
