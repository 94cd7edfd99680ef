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

struct Closer {
  void operator()(FILE* file) const { fclose(file); }
};

Failure Error(const std::string& path, int number) {
  return Failure(path + ": " + strerror(number));
}

// Whether `path` leads to where standard output goes, as /dev/stdout does. Opened once more, a file
// would be written from its beginning, over what else is printed.
bool IsStandardOutput(const std::string& path) {
  struct stat named, output;
  return stat(path.c_str(), &named) == 0 && fstat(STDOUT_FILENO, &output) == 0 &&
         named.st_dev == output.st_dev && named.st_ino == output.st_ino;
}

}  // namespace

std::string ReadFile(const std::string& path, size_t most) {
  std::unique_ptr<FILE, Closer> file(fopen(path.c_str(), "rb"));
  if (!file) throw Error(path, errno);
  struct stat status;
  if (fstat(fileno(file.get()), &status) != 0) throw Error(path, errno);
  if (S_ISDIR(status.st_mode)) throw Error(path, EISDIR);
  std::string bytes;
  if (S_ISREG(status.st_mode) && static_cast<size_t>(status.st_size) <= most) {
    bytes.reserve(status.st_size);
  }
  char buffer[1 << 16];
  size_t read;
  while ((read = fread(buffer, 1, sizeof(buffer), file.get())) > 0) {
    if (bytes.size() + read > most) {
      throw Failure(path + Format(": larger than the limit of %zu bytes", most));
    }
    bytes.append(buffer, read);
  }
  if (ferror(file.get())) throw Error(path, errno);
  return bytes;
}

void WriteFile(const std::string& path, std::string_view bytes) {
  if (IsStandardOutput(path)) {
    if (fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) throw Error(path, errno);
    return;
  }
  // A device, pipe or link is written to; it must not be replaced.
  struct stat found;
  const bool direct = lstat(path.c_str(), &found) == 0 && !S_ISREG(found.st_mode);
  const std::string temporary =
      direct ? path : path + Format(".%d.tmp", static_cast<int>(getpid()));
  FILE* file = fopen(temporary.c_str(), "wb");
  if (!file) throw Error(path, errno);
  bool good = fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  good = fclose(file) == 0 && good;
  if (!good || (!direct && rename(temporary.c_str(), path.c_str()) != 0)) {
    const int number = errno;
    if (!direct) remove(temporary.c_str());
    throw Error(path, number);
  }
}

}  // namespace label_image
