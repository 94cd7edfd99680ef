#include "process/temporary_file.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "error.h"

namespace label_image {
namespace {

// Signal handlers cannot read strings that another thread may be changing.
char last_directory[PATH_MAX], last_path[PATH_MAX];

void OnSignal(int number) {
  RemoveTemporaryFile();
  signal(number, SIG_DFL);
  raise(number);
}

void RemoveAfterSignals() {
  for (int number : {SIGHUP, SIGINT, SIGTERM}) {
    if (signal(number, OnSignal) == SIG_IGN) signal(number, SIG_IGN);  // as nohup asks
  }
}

}  // namespace

TemporaryFile::TemporaryFile(const std::string& bytes) {
  const char* folder = getenv("TMPDIR");
  directory_ = std::string(folder && *folder ? folder : "/tmp") + "/label_image.XXXXXX";
  if (!mkdtemp(directory_.data())) {
    throw Error(directory_, ": ", strerror(errno),
                ": set TMPDIR to a directory that you can write");
  }
  RemoveAfterSignals();
  path_ = directory_ + "/graph.pb";
  snprintf(last_directory, sizeof(last_directory), "%s", directory_.c_str());
  snprintf(last_path, sizeof(last_path), "%s", path_.c_str());
  // Not with WriteFile, which renames: OnSignal would not know the other name.
  FILE* file = fopen(path_.c_str(), "wbx");
  bool written = file && fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  if (file) written = fclose(file) == 0 && written;
  if (written) return;
  const Error error(path_, ": ", strerror(errno));
  RemoveTemporaryFile();  // the destructor does not run
  throw error;
}

TemporaryFile::~TemporaryFile() { RemoveTemporaryFile(); }

void RemoveTemporaryFile() {
  if (!*last_directory) return;
  unlink(last_path);
  rmdir(last_directory);
  *last_directory = '\0';
}

}  // namespace label_image
