// The protobuf wire format, as much as GraphDef, ConfigProto and RunMetadata need.
// https://protobuf.dev/programming-guides/encoding/

#ifndef LABEL_IMAGE_WIRE_H_
#define LABEL_IMAGE_WIRE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace label_image::wire {

enum Type { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  uint32_t number = 0;
  Type type = kVarint;
  uint64_t value = 0;      // of kVarint, kFixed64 and kFixed32
  std::string_view bytes;  // of kBytes: points into what the Reader was given

  // The content, where the field has the type that its message declares; else throws Failure.
  std::string_view AsBytes() const;
  uint64_t AsVarint() const;
};

// Takes a message apart, field by field. Never reads past the end; throws Failure where the
// bytes are no message.
class Reader {
 public:
  explicit Reader(std::string_view message) : rest_(message) {}
  // The next field; false at the end.
  bool Next(Field* field);

 private:
  uint64_t Varint();
  std::string_view Take(uint64_t size);

  std::string_view rest_;
};

// The numbers of a repeated varint field, packed or not: appends those in `field`.
void AppendVarints(const Field& field, std::vector<uint64_t>* values);

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

#endif  // LABEL_IMAGE_WIRE_H_
