// The order in which a graph receives the numbers of an image, as the shape of its input says.
// permafrost/evaluation/frozen_graphs/feeding/layout.py has the same rules.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace label_image {

struct Layout {
  std::string order = "HWC";  // of the dimensions; HW: grey without a channel; flat: HWC in a row
  int64_t height = -1, width = -1;  // -1: any
  int channels = 3;                 // 1: grey
  bool batched = true;              // there is a dimension for the number of images
  int64_t batch = 0;                // the only number of images that the graph accepts; 0: any

  bool has_size() const { return height > 0 && width > 0; }
  // Return the shape of `count` images; -1: any number.
  Shape shape(int64_t count) const;
};

// Return the layout of an input of this shape, or nothing if images cannot be fed there. An empty
// shape is unknown: RGB images of any size.
std::optional<Layout> LayoutOf(const Shape& shape);

// Return the luminance of a pixel, rounded as Pillow does.
inline uint8_t Luminance(const uint8_t* rgb) {
  return static_cast<uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + (1 << 15)) >> 16);
}

}  // namespace label_image
