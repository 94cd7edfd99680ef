#include "wire.h"

#include "error.h"

namespace label_image::wire {

std::string_view Field::AsBytes() const {
  if (type != kBytes) throw Failure(Format("field %u has the wrong type", number));
  return bytes;
}

uint64_t Field::AsVarint() const {
  if (type != kVarint) throw Failure(Format("field %u has the wrong type", number));
  return value;
}

bool Reader::Next(Field* field) {
  if (rest_.empty()) return false;
  const uint64_t tag = Varint();
  if (tag >> 3 == 0 || tag >> 32 != 0) throw Failure("a field number is invalid");
  field->number = static_cast<uint32_t>(tag >> 3);
  field->bytes = {};
  field->value = 0;
  switch (tag & 7) {
    case kVarint:
      field->type = kVarint;
      field->value = Varint();
      return true;
    case kBytes:
      field->type = kBytes;
      field->bytes = Take(Varint());
      return true;
    case kFixed64:
    case kFixed32: {
      field->type = (tag & 7) == kFixed64 ? kFixed64 : kFixed32;
      const std::string_view fixed = Take(field->type == kFixed64 ? 8 : 4);
      for (size_t i = fixed.size(); i-- > 0;) {
        field->value = field->value << 8 | static_cast<unsigned char>(fixed[i]);
      }
      return true;
    }
    default:  // groups, which TensorFlow's messages do not use, or nothing at all
      throw Failure("a field's type is invalid");
  }
}

uint64_t Reader::Varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<unsigned char>(Take(1)[0]);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  throw Failure("a number is longer than 64 bits");
}

std::string_view Reader::Take(uint64_t size) {
  if (size > rest_.size()) throw Failure("it ends within a field");
  const std::string_view taken = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return taken;
}

void AppendVarints(const Field& field, std::vector<uint64_t>* values) {
  if (field.type == kVarint) {
    values->push_back(field.value);
    return;
  }
  // As fields 1 of a message of their own each number would have a tag; packed ones have none.
  std::string_view rest = field.AsBytes();
  while (!rest.empty()) {
    uint64_t value = 0;
    int shift = 0;
    for (;; shift += 7) {
      if (rest.empty() || shift > 63) throw Failure("a packed number is cut off");
      const auto byte = static_cast<unsigned char>(rest[0]);
      rest.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    values->push_back(value);
  }
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
