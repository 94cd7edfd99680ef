// Whole files, read with a limit and written atomically.

#ifndef LABEL_IMAGE_FILE_H_
#define LABEL_IMAGE_FILE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace label_image {

// The bytes of the file at `path`. Throws Failure where it cannot be read, is a directory, or
// has more than `most` bytes (1 GiB: less than protobuf's own limit of 2 GiB).
std::string ReadFile(const std::string& path, size_t most = size_t{1} << 30);

// Writes a temporary file beside `path` and renames it. Throws Failure.
void WriteFile(const std::string& path, std::string_view bytes);

}  // namespace label_image

#endif  // LABEL_IMAGE_FILE_H_
