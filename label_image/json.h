// JSON, as much as is printed.

#ifndef LABEL_IMAGE_JSON_H_
#define LABEL_IMAGE_JSON_H_

#include <cmath>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "error.h"

namespace label_image::json {

// A string; bytes that are no ASCII are taken as UTF-8.
inline std::string Value(std::string_view text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < 0x20 ? Format("\\u%04x", c) : std::string(1, c);
  }
  return quoted + "\"";
}
inline std::string Value(const std::string& text) { return Value(std::string_view(text)); }
inline std::string Value(const char* text) { return Value(std::string_view(text)); }

// A number; JSON has no infinity.
template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>>
std::string Value(T number) {
  if constexpr (std::is_integral_v<T>) return std::to_string(number);
  return std::isfinite(number) ? Format("%.9g", static_cast<double>(number)) : "null";
}

template <typename T>
std::string Value(const std::vector<T>& values) {
  std::string text = "[";
  for (const T& value : values) text += (text.size() > 1 ? ", " : "") + Value(value);
  return text + "]";
}

class Object {
 public:
  template <typename T>
  Object& Add(std::string_view key, const T& value) {
    return AddRaw(key, Value(value));
  }
  // `value` is JSON already.
  Object& AddRaw(std::string_view key, std::string_view value) {
    text_ += (text_.empty() ? "" : ", ") + Value(key) + ": ";
    text_ += value;
    return *this;
  }
  std::string str() const { return "{" + text_ + "}"; }

 private:
  std::string text_;
};

}  // namespace label_image::json

#endif  // LABEL_IMAGE_JSON_H_
