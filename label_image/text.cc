#include "text.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace label_image {

std::string Format(const char* format, ...) {
  va_list arguments, copy;
  va_start(arguments, format);
  va_copy(copy, arguments);
  const int size = vsnprintf(nullptr, 0, format, arguments);
  va_end(arguments);
  std::string text(size < 0 ? 0 : size, '\0');
  vsnprintf(text.data(), text.size() + 1, format, copy);
  va_end(copy);
  return text;
}

size_t CharacterLength(std::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  if (text.empty()) return 0;
  if (byte(0) < 0x80) return 1;
  const size_t length = byte(0) < 0xc2 ? 0 : byte(0) < 0xe0 ? 2 : byte(0) < 0xf0 ? 3
                        : byte(0) < 0xf5 ? 4 : 0;
  if (length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and numbers above U+10FFFF.
  const bool invalid = (byte(0) == 0xe0 && byte(1) < 0xa0) || (byte(0) == 0xed && byte(1) > 0x9f) ||
                       (byte(0) == 0xf0 && byte(1) < 0x90) || (byte(0) == 0xf4 && byte(1) > 0x8f);
  return invalid ? 0 : length;
}

size_t CountCharacters(std::string_view text) {
  size_t count = 0;
  for (; !text.empty(); ++count) {
    text.remove_prefix(std::max<size_t>(CharacterLength(text), 1));
  }
  return count;
}

std::string Padded(const std::string& text, size_t width) {
  return text + std::string(width - std::min(width, CountCharacters(text)), ' ');
}

std::string Printable(std::string_view text) {
  std::string printable;
  for (; !text.empty(); text.remove_prefix(std::max<size_t>(CharacterLength(text), 1))) {
    const size_t length = CharacterLength(text);
    const auto first = static_cast<unsigned char>(text[0]);
    int code = first;
    if (length == 2) code = (first & 0x1f) << 6 | (text[1] & 0x3f);
    if (length == 3) code = (first & 0x0f) << 12 | (text[1] & 0x3f) << 6 | (text[2] & 0x3f);
    if (length == 4) {
      code = (first & 0x07) << 18 | (text[1] & 0x3f) << 12 | (text[2] & 0x3f) << 6 |
             (text[3] & 0x3f);
    }
    const bool space = code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) ||
                       code == 0x3000;
    const bool invisible = code == 0xad || code == 0x61c || (code >= 0x200b && code <= 0x200f) ||
                           (code >= 0x2028 && code <= 0x202f) || (code >= 0x205f && code <= 0x206f)
                           || code == 0x180e || code == 0xfeff || space ||
                           (code >= 0xfff9 && code <= 0xfffb) ||  // marks of annotations
                           (code >= 0xe000 && code <= 0xf8ff) || code >= 0xe0000;  // private, tags
    if (text[0] == '\n' || text[0] == '\t' || text[0] == '\r') {
      printable += text[0] == '\n' ? "\\n" : text[0] == '\t' ? "\\t" : "\\r";
    } else if (length == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
      printable += Format("\\x%02x", code);
    } else if (invisible) {
      printable += Format(code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
    } else {
      printable += text.substr(0, length);
    }
  }
  return printable;
}

std::string OneLine(std::string_view text, size_t max_size) {
  std::string line(text.substr(0, max_size));
  if (text.size() > max_size) {  // do not split a character
    while (!line.empty() && (text[line.size()] & 0xc0) == 0x80) line.pop_back();
  }
  for (char& c : line) {
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
  }
  return Printable(line) + (text.size() > max_size ? "..." : "");
}

std::string Quote(std::string_view name) { return "'" + OneLine(name, 100) + "'"; }

}  // namespace label_image
