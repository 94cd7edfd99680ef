// float16, which C++17 lacks.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace label_image {

// Return the float16 that is nearest to a float.
inline uint16_t ToHalf(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  const uint32_t sign = bits >> 16 & 0x8000;
  bits &= 0x7fffffff;
  uint32_t half;
  if (bits >= 0x47800000) {
    half = bits > 0x7f800000 ? 0x7e00 : 0x7c00;  // NaN or infinity
  } else if (bits < 0x38800000) {  // not normalized: a multiple of 2^-24
    half = static_cast<uint32_t>(std::lrint(std::ldexp(std::abs(value), 24)));
  } else {
    half = (bits + 0xfff + (bits >> 13 & 1) - 0x38000000) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}

// Return the value of a float16.
inline float FromHalf(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 0x3ff;
  float value = std::ldexp(static_cast<float>(fraction + (exponent ? 1024 : 0)),
                           exponent ? exponent - 25 : -24);
  if (exponent == 31) value = fraction ? NAN : INFINITY;
  return half & 0x8000 ? -value : value;
}

}  // namespace label_image
