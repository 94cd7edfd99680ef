#include "backends/litert/tensors.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "error.h"

namespace label_image {
namespace {

constexpr size_t kAlignment = 64;  // that of XNNPACK, which may read past the end as far

// DataType (-1: none of ours) and LiteRtElementType, with the bytes of an element (0: not fixed).
// Outputs may have the types that are not ours, too: all outputs of a model get memory.
constexpr int kTypes[][3] = {
    {kFloat, 1, 4}, {kInt32, 2, 4}, {kUint8, 3, 1}, {kInt64, 4, 8}, {kString, 5, 0}, {kBool, 6, 1},
    {-1, 7, 2},     // int16
    {-1, 8, 8},     // complex64
    {kInt8, 9, 1}, {kHalf, 10, 2}, {kDouble, 11, 8},
    {-1, 12, 32},   // complex128, for which LiteRT 2.3 asks twice its size
    {-1, 13, 8},    // uint64
    {-1, 16, 4},    // uint32
    {-1, 17, 2},    // uint16
    {-1, 18, 1},    // int4: LiteRT packs two in a byte
    {-1, 19, 2},    // bfloat16
    {-1, 20, 1},    // int2
    {-1, 21, 1}};   // uint4

// Return the bytes of an element. Throws Error if they are not fixed, or not known.
size_t ElementSize(int element_type) {
  for (const auto& [ours, theirs, bytes] : kTypes) {
    if (theirs == element_type && bytes > 0) return bytes;
    if (theirs == element_type) {
      throw Error("the model has a tensor of type ", TypeName(ours),
                  ", but only tensors of numbers can be used");
    }
  }
  throw Error("the model has a tensor of LiteRT's type number ", element_type,
              ", which is not known here");
}

}  // namespace

InputInfo ReadInfo(const LiteRtRankedTensorType& type) {
  InputInfo info = {-1, {}};
  for (const auto& [ours, theirs, size] : kTypes) {
    if (theirs == type.element_type) info.type = ours;
  }
  const LiteRtLayout& layout = type.layout;
  info.shape.assign(layout.dimensions, layout.dimensions + std::min(layout.rank, 8u));
  return info;
}

Tensor NewTensor(const LiteRt& litert, const LiteRtRankedTensorType& type, const Shape& shape) {
  LiteRtRankedTensorType ranked = type;
  ranked.layout.rank = static_cast<unsigned>(shape.size());
  ranked.layout.has_strides = false;
  size_t size = ElementSize(type.element_type);
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 0) throw Error("the model has a tensor whose size is unknown");
    ranked.layout.dimensions[i] = static_cast<int32_t>(shape[i]);
    size *= static_cast<size_t>(shape[i]);
  }
  void* memory = aligned_alloc(kAlignment, (size / kAlignment + 2) * kAlignment);
  if (!memory) {
    throw Error("no memory for a tensor of ", size, " bytes: use a smaller --batch_size");
  }
  memset(memory, 0, (size / kAlignment + 2) * kAlignment);
  LiteRtTensorBufferT* buffer = nullptr;
  // LiteRT owns the memory from here on, and has freed it if this fails.
  litert.Check(litert.CreateTensorBufferFromHostMemory(&ranked, memory, size, free, &buffer),
               "cannot make a tensor");
  return {ReadInfo(ranked).type, shape, memory,
          {buffer, [destroy = litert.DestroyTensorBuffer](LiteRtTensorBufferT* b) { destroy(b); }}};
}

}  // namespace label_image
