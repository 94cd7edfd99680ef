// The protobuf wire format, as far as the messages of TensorFlow and ONNX here need it.
// https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace label_image::wire {

enum Type { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  uint32_t number = 0;
  Type type = kVarint;
  uint64_t value = 0;      // of kVarint
  std::string_view bytes;  // of kBytes: a part of the message

  // Return the content. Throws Error if the field has another type.
  std::string_view AsBytes() const;
  uint64_t AsVarint() const;
};

// Splits a message into its fields. Skips the content of fixed-size fields, which nobody needs.
// Never reads past the end; throws Error if the bytes are not a message.
class Reader {
 public:
  explicit Reader(std::string_view message) : rest_(message) {}
  // Read the next field. Returns false at the end.
  bool Next(Field* field);

 private:
  friend std::vector<uint64_t> AllVarints(std::string_view message, uint32_t number);
  uint64_t Varint();
  std::string_view Take(uint64_t size);

  std::string_view rest_;
};

// Return the last field `number` of a message, which is the one that counts.
std::optional<Field> LastField(std::string_view message, uint32_t number);

// Return the content of the last field `number`, or "" or 0 if there is none.
std::string_view LastBytes(std::string_view message, uint32_t number);
uint64_t LastVarint(std::string_view message, uint32_t number);

// Return the contents of all fields `number`. Varints may be packed.
std::vector<std::string_view> AllBytes(std::string_view message, uint32_t number);
std::vector<uint64_t> AllVarints(std::string_view message, uint32_t number);

// Writes a message, field by field.
class Writer {
 public:
  Writer& Varint(uint32_t number, uint64_t value);
  Writer& Bytes(uint32_t number, std::string_view bytes);
  const std::string& str() const { return bytes_; }

 private:
  void Raw(uint64_t value);

  std::string bytes_;
};

}  // namespace label_image::wire
