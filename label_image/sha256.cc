#include "sha256.h"

#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>

#include "error.h"

namespace label_image {
namespace {

constexpr size_t kBlock = 64;              // bytes
constexpr size_t kPiece = 64 << 10;        // bytes to read at a time: whole blocks
constexpr size_t kLengthAt = kBlock - 8;  // in the last block

constexpr std::array<uint32_t, 64> kConstants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

using State = std::array<uint32_t, 8>;

uint32_t Rotate(uint32_t x, int bits) { return x >> bits | x << (32 - bits); }

void AddBlock(const unsigned char* block, State* state) {
  uint32_t words[64];
  for (int i = 0; i < 16; ++i) {
    const unsigned char* bytes = block + 4 * i;
    words[i] = uint32_t{bytes[0]} << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
  }
  for (int i = 16; i < 64; ++i) {
    const uint32_t a = words[i - 15], b = words[i - 2];
    words[i] = words[i - 16] + (Rotate(a, 7) ^ Rotate(a, 18) ^ a >> 3) + words[i - 7] +
               (Rotate(b, 17) ^ Rotate(b, 19) ^ b >> 10);
  }
  auto [a, b, c, d, e, f, g, h] = *state;
  for (int i = 0; i < 64; ++i) {
    const uint32_t first = h + (Rotate(e, 6) ^ Rotate(e, 11) ^ Rotate(e, 25)) +
                           ((e & f) ^ (~e & g)) + kConstants[i] + words[i];
    const uint32_t second =
        (Rotate(a, 2) ^ Rotate(a, 13) ^ Rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
  }
  const uint32_t added[] = {a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < state->size(); ++i) (*state)[i] += added[i];
}

}  // namespace

std::string Sha256OfFile(const std::string& path) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(fopen(path.c_str(), "rb"), fclose);
  if (!file) throw Error(path, ": cannot be read");
  State state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::string piece(kPiece, '\0');
  const auto add = [&piece, &state] {
    for (size_t at = 0; at + kBlock <= piece.size(); at += kBlock) {
      AddBlock(reinterpret_cast<const unsigned char*>(piece.data()) + at, &state);
    }
  };
  uint64_t bits = 0;
  size_t size;
  while ((size = fread(piece.data(), 1, kPiece, file.get())) == kPiece) {
    add();
    bits += 8 * kPiece;
  }
  if (ferror(file.get())) throw Error(path, ": cannot be read");
  bits += 8 * size;
  piece.resize(size);
  piece += '\x80';
  while (piece.size() % kBlock != kLengthAt) piece += '\0';
  for (int shift = 56; shift >= 0; shift -= 8) piece += static_cast<char>(bits >> shift & 0xff);
  add();
  std::string digits;
  for (uint32_t word : state) digits += Format("%08x", word);
  return digits;
}

}  // namespace label_image
