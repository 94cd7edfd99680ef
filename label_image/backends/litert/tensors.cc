#include "backends/litert/tensors.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "error.h"

namespace label_image {
namespace {

constexpr size_t kAlignment = 64;  // that of XNNPACK, which may read past the end as far

// DataType and LiteRtElementType, with the bytes of an element.
constexpr int kTypes[][3] = {{kFloat, 1, 4}, {kInt32, 2, 4}, {kUint8, 3, 1}, {kInt64, 4, 8},
                             {kString, 5, 0}, {kBool, 6, 1}, {kInt8, 9, 1}, {kHalf, 10, 2},
                             {kDouble, 11, 8}};

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
  size_t size = 1;
  for (const auto& [ours, theirs, bytes] : kTypes) {
    if (theirs == type.element_type) size = bytes;
  }
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
  const int status =
      litert.CreateTensorBufferFromHostMemory(&ranked, memory, size, free, &buffer);
  if (status != 0) free(memory);
  litert.Check(status, "cannot make a tensor");
  return {ReadInfo(ranked).type, shape, memory,
          {buffer, [destroy = litert.DestroyTensorBuffer](LiteRtTensorBufferT* b) { destroy(b); }}};
}

}  // namespace label_image
