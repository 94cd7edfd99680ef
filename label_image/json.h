// A writer for the JSON that the program prints.
#pragma once

#include <cmath>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "error.h"

namespace label_image::json {

// Return a string in quotes. Bytes above 127 are expected to be UTF-8.
inline std::string Value(std::string_view text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < 0x20 ? Format("\\u%04x", c) : std::string(1, c);
  }
  return quoted + "\"";
}
inline std::string Value(const std::string& text) { return Value(std::string_view(text)); }

// Return a number. JSON has no infinity and no NaN: these become null.
template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>>
std::string Value(T number) {
  if constexpr (std::is_integral_v<T>) return std::to_string(number);
  return std::isfinite(number) ? Format("%.9g", static_cast<double>(number)) : "null";
}

// Return an array.
template <typename T>
std::string Value(const std::vector<T>& values) {
  std::string text = "[";
  for (const T& value : values) text += (text.size() > 1 ? ", " : "") + Value(value);
  return text + "]";
}

// An object with its keys in the order in which they were added.
class Object {
 public:
  template <typename T>
  Object& Add(std::string_view key, const T& value) {
    text_ += (text_.empty() ? "" : ", ") + Value(key) + ": " + Value(value);
    return *this;
  }
  std::string str() const { return "{" + text_ + "}"; }

 private:
  std::string text_;
};
inline std::string Value(const Object& object) { return object.str(); }

}  // namespace label_image::json
