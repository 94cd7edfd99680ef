// Whole files: read up to a size limit, written atomically. Lines of text, numbers in binary files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace label_image {

// Return the bytes of a file. Throws Error if it cannot be read, is a pipe that the shell has not
// made, or has more than `max_size` bytes. The default limit of 1 GiB is below protobuf's own of
// 2 GiB.
std::string ReadFile(const std::string& path, size_t max_size = size_t{1} << 30);

// Write a temporary file next to `path` and rename it. Standard output and error, devices, pipes
// and links are written to directly. Throws Error.
void WriteFile(const std::string& path, std::string_view bytes);

// Return whether `text` ends with `end`.
bool EndsWith(std::string_view text, std::string_view end);

// Return the lines of a text to be printed, without spaces at their ends and without empty lines.
std::vector<std::string> Lines(std::string_view text);

// Return the number that these at most 8 bytes encode.
inline uint64_t LittleEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

}  // namespace label_image
