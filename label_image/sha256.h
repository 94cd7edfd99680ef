// The checksum of a file: SHA-256, FIPS 180-4.
#pragma once

#include <string>

namespace label_image {

// Return the SHA-256 of a file as 64 hexadecimal digits. The file is read in pieces, so that it
// does not count in the peak memory of the process. Throws Error if it cannot be read.
std::string Sha256OfFile(const std::string& path);

}  // namespace label_image
