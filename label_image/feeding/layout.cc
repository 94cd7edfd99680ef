#include "feeding/layout.h"

#include <algorithm>
#include <cmath>

namespace label_image {
namespace {

constexpr int64_t kMaxSide = 10000;  // pixels

bool IsChannels(int64_t size) { return size == 1 || size == 3; }

// Return the layout of a square image whose `count` numbers are in a row.
std::optional<Layout> Flat(int64_t count) {
  for (int channels : {3, 1}) {
    const auto side = static_cast<int64_t>(std::lround(std::sqrt(1. * count / channels)));
    if (side > 0 && side <= kMaxSide && side * side * channels == count) {
      return Layout{"flat", side, side, channels};
    }
  }
  return std::nullopt;
}

// Return the layout of an image of these dimensions.
std::optional<Layout> OfImage(const Shape& sizes) {
  if (sizes.size() == 1) return Flat(sizes[0]);
  Layout layout;
  int64_t channels = 1;
  if (sizes.size() == 2) {
    layout.order = "HW", layout.height = sizes[0], layout.width = sizes[1];
  } else if (!IsChannels(sizes[2]) && IsChannels(sizes[0])) {
    layout.order = "CHW", channels = sizes[0], layout.height = sizes[1], layout.width = sizes[2];
  } else {
    layout.height = sizes[0], layout.width = sizes[1], channels = sizes[2] < 0 ? 3 : sizes[2];
  }
  const auto possible = [](int64_t side) { return side != 0 && side <= kMaxSide; };
  if (!IsChannels(channels) || !possible(layout.height) || !possible(layout.width)) {
    return std::nullopt;
  }
  layout.channels = static_cast<int>(channels);
  return layout;
}

}  // namespace

Shape Layout::shape(int64_t count) const {
  Shape shape;
  if (batched) shape.push_back(count);
  if (order == "flat") {
    shape.push_back(has_size() ? height * width * channels : -1);
    return shape;
  }
  for (char dimension : order) {
    shape.push_back(dimension == 'H' ? height : dimension == 'W' ? width : channels);
  }
  return shape;
}

std::optional<Layout> LayoutOf(const Shape& shape) {
  if (shape.empty()) return Layout();
  const bool one_image =
      shape.size() == 1 || (shape.size() == 3 && (IsChannels(shape[2]) || shape[0] == 3));
  if (one_image) {
    std::optional<Layout> layout = OfImage(shape);
    if (layout) layout->batched = false;
    return layout;
  }
  if (shape.size() > 4 || shape[0] == 0) return std::nullopt;
  std::optional<Layout> layout = OfImage({shape.begin() + 1, shape.end()});
  if (layout) layout->batch = std::max<int64_t>(shape[0], 0);
  return layout;
}

}  // namespace label_image
