// A writer for the JSON that the program prints.
#pragma once

#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

#include "error.h"

namespace label_image::json {

struct Member;
using Object = std::vector<Member>;

// A value as JSON text.
struct Value {
  std::string text;

  // A string. Bytes above 127 are expected to be UTF-8.
  Value(const std::string& string) : text("\"") {
    for (char c : string) {
      if (c == '"' || c == '\\') text += '\\';
      text += static_cast<unsigned char>(c) < 0x20 ? Format("\\u%04x", c) : std::string(1, c);
    }
    text += '"';
  }

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
