// Files in /proc, in which the kernel says how much memory there is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace label_image {

// Return the bytes that a line "`key`: N kB" of a file in /proc says, or nothing.
std::optional<int64_t> ReadProcField(const char* path, const std::string& key);

}  // namespace label_image
