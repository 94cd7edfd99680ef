// The gradient of the weights of a convolution of stride 1, in bfloat16 with sums in float32:
//
//   dw[ky, kx, c, f] = sum over n, y, x of maps[n, y + ky - pad, x + kx - pad, c] * grad[n, y, x, f]
//
// For one tap (ky, kx) this is a matrix product, of C x pixels and pixels x F. VDPBF16PS multiplies
// and adds pairs of bfloat16, so both operands are packed with the same pixel of two images in 32
// bits. Blocks of images are packed, each into memory that fits the cache, and then multiplied in
// tiles whose sums stay in registers.
#ifndef PERMAFROST_TRAINING_KERNELS_WEIGHT_GRADIENT_H_
#define PERMAFROST_TRAINING_KERNELS_WEIGHT_GRADIENT_H_

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

namespace permafrost {

constexpr int kLanes = 16;  // float32 in a register
// 8 x 2 registers hold the sums of a tile.
constexpr int kTileChannels = 8;
constexpr int kTileFilters = 2 * kLanes;
constexpr int kBlockPixels = 1024;  // of a block, of two images each: fits 1 MiB of L2 cache

struct ConvShape {
  int64_t images, height, width, channels;  // of the maps
  int64_t out_height, out_width, filters;   // of the gradient of the convolution's output
  int64_t size, pad;  // of the window; the rows and columns of zeros above and to the left
};

// Adds the gradients of the weights, some images at a time. Threads need memory of their own.
class WeightGradient {
 public:
  // Takes at most `max_block` images at a time, but at least two.
  WeightGradient(const ConvShape& shape, int64_t max_block)
      : s_(shape),
        channel_tiles_((s_.channels + kTileChannels - 1) / kTileChannels),
        filter_tiles_((s_.filters + kTileFilters - 1) / kTileFilters),
        pairs_(std::max<int64_t>(1, std::min(
            max_block / 2, kBlockPixels / (s_.out_height * s_.out_width)))),
        map_row_((s_.out_width + s_.size - 1) * kTileChannels),
        map_pair_(map_row_ * s_.height),
        map_tile_(map_pair_ * pairs_),
        grad_row_(s_.out_width * kTileFilters),
        grad_pair_(grad_row_ * s_.out_height),
        grad_tile_(grad_pair_ * pairs_) {}

  int64_t block() const { return 2 * pairs_; }  // images at a time
  int64_t padded_filters() const { return filter_tiles_ * kTileFilters; }
  // 32-bit words of memory that Add needs, and floats of its sums [size, size, C, padded_filters].
  int64_t scratch_words() const { return grad_tile_ * filter_tiles_ + map_tile_ * channel_tiles_; }
  int64_t sums() const { return s_.size * s_.size * s_.channels * padded_filters(); }

  // Adds the gradient of `count` images, from image `first`, to `sums`: at most block() images.
  // `scratch` and `sums` must be aligned to 64 bytes.
  void Add(const uint16_t* maps, const uint16_t* grad, int64_t first, int64_t count,
           uint32_t* scratch, float* sums) const {
    uint32_t* packed_maps = scratch + grad_tile_ * filter_tiles_;
    PackGrad(grad + first * s_.out_height * s_.out_width * s_.filters, count, scratch);
    PackMaps(maps + first * s_.height * s_.width * s_.channels, count, packed_maps);
    Multiply(packed_maps, scratch, count, sums);
  }

 private:
  // Interleaves 32 values of each of two images: the first 16 pairs, and the others.
  static __m512i Pairs(__m512i left, __m512i right, bool others) {
    alignas(64) static constexpr uint16_t kOrder[2][32] = {
        {0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39,
         8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47},
        {16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55,
         24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63}};
    return _mm512_permutex2var_epi16(left, _mm512_load_si512(kOrder[others]), right);
  }

  // 32 values, of which only `left` are there; the others are 0.
  static __m512i Load(const uint16_t* values, int64_t left) {
    const __mmask32 mask = left >= 32 ? ~0u : left <= 0 ? 0 : (1u << left) - 1;
    return _mm512_maskz_loadu_epi16(mask, values);
  }

  // [tile of filters][pair of images][row][pixel][filter of the tile]
  void PackGrad(const uint16_t* grad, int64_t count, uint32_t* packed) const {
    const int64_t pixels = s_.out_height * s_.out_width;
    for (int64_t i = 0; i < (count + 1) / 2 * pixels; i++) {
      const int64_t first = i / pixels * 2;
      const uint16_t* left = grad + (first * pixels + i % pixels) * s_.filters;
      const uint16_t* right = left + pixels * s_.filters;
      for (int64_t f = 0; f < padded_filters(); f += 32) {
        const __m512i l = Load(left + f, s_.filters - f);
        const __m512i r = Load(right + f, first + 1 < count ? s_.filters - f : 0);
        uint32_t* to = packed + f / kTileFilters * grad_tile_ + i * kTileFilters;
        _mm512_store_si512(to, Pairs(l, r, false));
        _mm512_store_si512(to + kLanes, Pairs(l, r, true));
      }
    }
  }

  // [tile of channels][pair of images][row][pixel, from -pad on][channel of the tile]
  void PackMaps(const uint16_t* maps, int64_t count, uint32_t* packed) const {
    for (int64_t row = 0; row < (count + 1) / 2 * s_.height; row++) {
      const int64_t first = row / s_.height * 2;
      for (int64_t i = 0; i < map_row_ / kTileChannels; i++) {
        const int64_t x = i - s_.pad;
        const bool inside = x >= 0 && x < s_.width;
        const int64_t pixel = (first * s_.height + row % s_.height) * s_.width + x;
        const uint16_t* left = maps + pixel * s_.channels;
        const uint16_t* right = left + s_.height * s_.width * s_.channels;
        uint32_t* to = packed + row * map_row_ + i * kTileChannels;
        for (int64_t c = 0; c < s_.channels; c += 32) {
          const __m512i l = Load(left + c, inside ? s_.channels - c : 0);
          const __m512i r = Load(right + c, inside && first + 1 < count ? s_.channels - c : 0);
          const __m512i pairs[2] = {Pairs(l, r, false), Pairs(l, r, true)};
          const int64_t tiles = std::min<int64_t>(4, channel_tiles_ - c / kTileChannels);
          for (int64_t tile = 0; tile < tiles; tile++, to += map_tile_) {
            _mm256_store_si256(reinterpret_cast<__m256i*>(to),
                               tile % 2 ? _mm512_extracti64x4_epi64(pairs[tile / 2], 1)
                                        : _mm512_castsi512_si256(pairs[tile / 2]));
          }
        }
      }
    }
  }

  void Multiply(const uint32_t* maps, const uint32_t* grad, int64_t count, float* sums) const {
    for (int64_t f = 0; f < filter_tiles_; f++) {
      for (int64_t tap = 0; tap < s_.size * s_.size; tap++) {
        const int64_t ky = tap / s_.size, kx = tap % s_.size;
        // Rows of the gradient whose row of the map is not in the padding.
        const int64_t first = std::max<int64_t>(0, s_.pad - ky);
        const int64_t last = std::min(s_.out_height, s_.height + s_.pad - ky);
        for (int64_t tile = 0; tile < channel_tiles_; tile++) {
          const int64_t c = tile * kTileChannels;
          const uint32_t* a =
              maps + tile * map_tile_ + (first + ky - s_.pad) * map_row_ + kx * kTileChannels;
          const uint32_t* b = grad + f * grad_tile_ + first * grad_row_;
          float* to = sums + (tap * s_.channels + c) * padded_filters() + f * kTileFilters;
          switch (std::min<int64_t>(kTileChannels, s_.channels - c)) {
            case 1: MultiplyTile<1>(a, b, count, last - first, to); break;
            case 2: MultiplyTile<2>(a, b, count, last - first, to); break;
            case 3: MultiplyTile<3>(a, b, count, last - first, to); break;
            case 4: MultiplyTile<4>(a, b, count, last - first, to); break;
            case 5: MultiplyTile<5>(a, b, count, last - first, to); break;
            case 6: MultiplyTile<6>(a, b, count, last - first, to); break;
            case 7: MultiplyTile<7>(a, b, count, last - first, to); break;
            default: MultiplyTile<8>(a, b, count, last - first, to);
          }
        }
      }
    }
  }

  template <int kChannels>
  void MultiplyTile(const uint32_t* maps, const uint32_t* grad, int64_t count, int64_t rows,
                    float* to) const {
    constexpr int kRegisters = kTileFilters / kLanes;
    __m512 sum[kChannels][kRegisters];
    for (auto& each : sum) for (__m512& lanes : each) lanes = _mm512_setzero_ps();
    for (int64_t pair = 0; pair < (count + 1) / 2; pair++) {
      for (int64_t y = 0; y < rows; y++) {
        const uint32_t* a = maps + pair * map_pair_ + y * map_row_;
        const uint32_t* b = grad + pair * grad_pair_ + y * grad_row_;
        for (int64_t x = 0; x < s_.out_width; x++, a += kTileChannels, b += kTileFilters) {
          __m512bh filters[kRegisters];
          for (int j = 0; j < kRegisters; j++) {
            filters[j] = (__m512bh)_mm512_load_si512(b + j * kLanes);
          }
          for (int i = 0; i < kChannels; i++) {
            const __m512bh channel = (__m512bh)_mm512_set1_epi32(a[i]);
            for (int j = 0; j < kRegisters; j++) {
              sum[i][j] = _mm512_dpbf16_ps(sum[i][j], channel, filters[j]);
            }
          }
        }
      }
    }
    for (int i = 0; i < kChannels; i++) {
      for (int j = 0; j < kRegisters; j++) {
        float* value = to + i * padded_filters() + j * kLanes;
        _mm512_store_ps(value, _mm512_add_ps(_mm512_load_ps(value), sum[i][j]));
      }
    }
  }

  const ConvShape s_;
  const int64_t channel_tiles_, filter_tiles_, pairs_;  // pairs of images of a block
  // Steps between rows, pairs of images and tiles of what is packed, in words.
  const int64_t map_row_, map_pair_, map_tile_, grad_row_, grad_pair_, grad_tile_;
};

}  // namespace permafrost

#endif  // PERMAFROST_TRAINING_KERNELS_WEIGHT_GRADIENT_H_
