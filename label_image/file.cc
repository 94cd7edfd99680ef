#include "file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "error.h"

namespace label_image {
namespace {

Error SystemError(const std::string& path, int number) {
  return Error(path + ": " + strerror(number));
}

// Return whether `path`, for example /dev/stdout, is the file that standard output goes to. Opened a
// second time, that file would be overwritten from its beginning.
bool IsStandardOutput(const std::string& path) {
  struct stat file, output;
  return stat(path.c_str(), &file) == 0 && fstat(STDOUT_FILENO, &output) == 0 &&
         file.st_dev == output.st_dev && file.st_ino == output.st_ino;
}

}  // namespace

std::string ReadFile(const std::string& path, size_t max_size) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(fopen(path.c_str(), "rb"), fclose);
  struct stat status;
  if (!file || fstat(fileno(file.get()), &status) != 0) throw SystemError(path, errno);
  if (S_ISDIR(status.st_mode)) throw SystemError(path, EISDIR);
  std::string bytes;
  if (S_ISREG(status.st_mode) && static_cast<size_t>(status.st_size) <= max_size) {
    bytes.reserve(status.st_size);
  }
  char buffer[1 << 16];
  size_t size;
  while ((size = fread(buffer, 1, sizeof(buffer), file.get())) > 0) {
    if (bytes.size() + size > max_size) {
      throw Error(path + Format(": larger than the limit of %zu bytes", max_size));
    }
    bytes.append(buffer, size);
  }
  if (ferror(file.get())) throw SystemError(path, errno);
  return bytes;
}

void WriteFile(const std::string& path, std::string_view bytes) {
  if (IsStandardOutput(path)) {
    if (fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) {
      throw SystemError(path, errno);
    }
    return;
  }
  struct stat status;
  const bool replace = lstat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode);
  const std::string target =
      replace ? path + Format(".%d.tmp", static_cast<int>(getpid())) : path;
  FILE* file = fopen(target.c_str(), "wb");
  if (!file) throw SystemError(path, errno);
  bool written = fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  written = fclose(file) == 0 && written;
  if (!written || (replace && rename(target.c_str(), path.c_str()) != 0)) {
    const int number = errno;
    if (replace) remove(target.c_str());
    throw SystemError(path, number);
  }
}

}  // namespace label_image
