#include "graph/tflite_file.h"

#include <algorithm>

#include "file.h"

namespace label_image {
namespace {

// Offsets and sizes of the zip format.
constexpr std::string_view kEnd("PK\5\6", 4), kEntry("PK\1\2", 4), kLocal("PK\3\4", 4);
constexpr size_t kEndSize = 22, kEntrySize = 46, kLocalSize = 30;

// Return up to `size` bytes from `start`, or nothing beyond the end.
std::string_view Part(std::string_view bytes, uint64_t start, uint64_t size) {
  return start > bytes.size() ? std::string_view() : bytes.substr(start, size);
}

// Return the content of the file `name` of the archive at the end of `bytes`, or "". Offsets in the
// archive count from the start of the model, or, as Python's zipfile reads, from that of the
// archive.
std::string_view FindInZip(std::string_view bytes, std::string_view name) {
  const size_t end = bytes.rfind(kEnd);
  if (end == bytes.npos || bytes.size() - end < kEndSize) return {};
  const uint64_t directory_size = LittleEndian(bytes.substr(end + 12, 4));
  const uint64_t directory_offset = LittleEndian(bytes.substr(end + 16, 4));
  if (directory_size > end || directory_offset > end - directory_size) return {};
  const uint64_t before = end - directory_size - directory_offset;  // bytes before the archive
  std::string_view entries = bytes.substr(end - directory_size, directory_size);
  while (entries.size() >= kEntrySize && entries.substr(0, 4) == kEntry) {
    const auto number = [&entries](size_t at, size_t size) {
      return LittleEndian(entries.substr(at, size));
    };
    const uint64_t name_size = number(28, 2);
    const bool stored = number(10, 2) == 0;
    if (stored && Part(entries, kEntrySize, name_size) == name) {
      const std::string_view local = Part(bytes, before + number(42, 4), bytes.npos);
      if (local.size() < kLocalSize || local.substr(0, 4) != kLocal) return {};
      const uint64_t skipped =
          LittleEndian(local.substr(26, 2)) + LittleEndian(local.substr(28, 2));
      return Part(local, kLocalSize + skipped, number(20, 4));
    }
    const uint64_t size = kEntrySize + name_size + number(30, 2) + number(32, 2);
    entries.remove_prefix(std::min<uint64_t>(size, entries.size()));
  }
  return {};
}

}  // namespace

std::vector<std::string> TfliteLabels(std::string_view model) {
  return Lines(FindInZip(model, "labels.txt"));
}

}  // namespace label_image
