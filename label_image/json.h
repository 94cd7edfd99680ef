// A writer for the JSON that the program prints.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "error.h"

namespace label_image::json {

struct Member;
using Object = std::vector<Member>;

// A value as JSON text.
struct Value {
  std::string text;

  // A string. JSON is UTF-8: a byte that is not becomes the four characters \xe9, or such.
  Value(std::string_view string) : text("\"") {
    while (!string.empty()) {
      const size_t length = CharacterLength(string);
      const auto byte = static_cast<unsigned char>(string[0]);
      if (length == 0) {
        text += Format("\\\\x%02x", byte);
      } else if (byte < 0x20) {
        text += Format("\\u%04x", byte);
      } else {
        if (byte == '"' || byte == '\\') text += '\\';
        text += string.substr(0, length);
      }
      string.remove_prefix(std::max<size_t>(length, 1));
    }
    text += '"';
  }
  Value(const std::string& string) : Value(std::string_view(string)) {}
  Value(const char* string) : Value(std::string_view(string)) {}

  // A number. JSON has no infinity and no NaN: these become null.
  template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>>
  Value(T number) : text(std::isfinite(number) ? Format("%.9g", 1. * number) : "null") {
    if (std::is_integral_v<T>) text = std::to_string(number);
  }

  // An array.
  template <typename T>
  Value(const std::vector<T>& values) {
    for (const T& value : values) text += (text.empty() ? "" : ", ") + Value(value).text;
    text = "[" + text + "]";
  }

  Value(const Object& object);
};

struct Member {
  std::string key;
  Value value;
};

inline Value::Value(const Object& object) {
  for (const auto& [key, value] : object) {
    text += (text.empty() ? "" : ", ") + Value(key).text + ": " + value.text;
  }
  text = "{" + text + "}";
}

}  // namespace label_image::json
