#include "graph/wire.h"

#include "error.h"

namespace label_image::wire {

std::string_view Field::AsBytes() const {
  if (type != kBytes) throw Error("field ", number, " has the wrong type");
  return bytes;
}

uint64_t Field::AsVarint() const {
  if (type != kVarint) throw Error("field ", number, " has the wrong type");
  return value;
}

bool Reader::Next(Field* field) {
  if (rest_.empty()) return false;
  const uint64_t tag = Varint();
  if (tag >> 3 == 0 || tag >> 32 != 0) throw Error("a field has an invalid number");
  *field = {static_cast<uint32_t>(tag >> 3), static_cast<Type>(tag & 7), 0, {}};
  switch (field->type) {
    case kVarint: field->value = Varint(); break;
    case kBytes: field->bytes = Take(Varint()); break;
    case kFixed64: Take(8); break;
    case kFixed32: Take(4); break;
    default:  // groups, which TensorFlow's messages do not use, and undefined types
      throw Error("a field has an invalid type");
  }
  return true;
}

uint64_t Reader::Varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<unsigned char>(Take(1)[0]);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  throw Error("a number is longer than 64 bits");
}

std::string_view Reader::Take(uint64_t size) {
  if (size > rest_.size()) throw Error("a field is truncated");
  const std::string_view taken = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return taken;
}

std::optional<Field> LastField(std::string_view message, uint32_t number) {
  std::optional<Field> last;
  Field field;
  for (Reader reader(message); reader.Next(&field);) {
    if (field.number == number) last = field;
  }
  return last;
}

std::string_view LastBytes(std::string_view message, uint32_t number) {
  const std::optional<Field> field = LastField(message, number);
  return field ? field->AsBytes() : std::string_view();
}

uint64_t LastVarint(std::string_view message, uint32_t number) {
  const std::optional<Field> field = LastField(message, number);
  return field ? field->AsVarint() : 0;
}

std::vector<std::string_view> AllBytes(std::string_view message, uint32_t number) {
  std::vector<std::string_view> all;
  Field field;
  for (Reader reader(message); reader.Next(&field);) {
    if (field.number == number) all.push_back(field.AsBytes());
  }
  return all;
}

std::vector<uint64_t> AllVarints(std::string_view message, uint32_t number) {
  std::vector<uint64_t> all;
  Field field;
  for (Reader reader(message); reader.Next(&field);) {
    if (field.number != number) continue;
    if (field.type == kVarint) {
      all.push_back(field.value);
    } else {
      for (Reader packed(field.AsBytes()); !packed.rest_.empty();) all.push_back(packed.Varint());
    }
  }
  return all;
}

Writer& Writer::Varint(uint32_t number, uint64_t value) {
  Raw(uint64_t{number} << 3 | kVarint);
  Raw(value);
  return *this;
}

Writer& Writer::Bytes(uint32_t number, std::string_view bytes) {
  Raw(uint64_t{number} << 3 | kBytes);
  Raw(bytes.size());
  bytes_ += bytes;
  return *this;
}

void Writer::Raw(uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
  bytes_ += static_cast<char>(value);
}

}  // namespace label_image::wire
