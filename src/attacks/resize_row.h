// Images made smaller and put somewhere on black, at random (Xie et al. 2019), and the way back for gradients.
#pragma once

#include "formulas.h"
#include "kernels.h"
#include "philox.h"

namespace epsball {

struct ResizeRows {
  Index rows = 0, channels = 1, height = 1, width = 1;
  Index least = 1;        // width that is drawn; the most is width - 1
  double chance = 1.0;    // of a row; the others stay
  bool gradient = false;  // x is the gradient of what came out, out that of what went in
  const float* x = nullptr;
  float* between = nullptr;  // after the first axis
  float* out = nullptr;
  Index ld = 0;                // of all three
  const Index* ids = nullptr;  // (rows)
  std::uint64_t seed = 0;
  const std::uint32_t* draw = nullptr;  // (1), below 2^24
  std::uint32_t more = 0;               // added to it
};

namespace EPSBALL_ISA {

// Separates the sizes and places from other uses of one seed; the low 24 bits count draws.
inline constexpr std::uint32_t kResizeSalt = 5u << 24;

// Where a row's image goes: `tall` x `wide` pixels, `top` and `left` of which are black.
struct Resized {
  Index tall, wide, top, left;
  bool moves;
};

EPSBALL_HD Resized resized(const ResizeRows& a, Index row) {
  const auto id = static_cast<std::uint64_t>(a.ids[row]);
  std::uint32_t words[4] = {0, kResizeSalt | ((*a.draw + a.more) & 0xffffffu), static_cast<std::uint32_t>(id),
                            static_cast<std::uint32_t>(id >> 32)};
  philox(words, a.seed);
  // Uniform in 0 ... count - 1.
  const auto below = [](std::uint32_t word, Index count) {
    return static_cast<Index>((static_cast<std::uint64_t>(word) * static_cast<std::uint64_t>(count)) >> 32);
  };
  Resized to;
  to.moves = a.width > a.least && static_cast<double>(words[3]) < a.chance * 0x1p+32;
  to.wide = to.moves ? a.least + below(words[0], a.width - a.least) : a.width;
  to.tall = (2 * a.height * to.wide + a.width) / (2 * a.width);  // rounded
  to.tall = to.tall < 1 ? 1 : to.tall;
  to.top = below(words[1], a.height > to.tall ? a.height - to.tall : 1);
  to.left = below(words[2], a.width > to.wide ? a.width - to.wide : 1);
  return to;
}

// What pixel `to` of `few` takes from `many`, by linear interpolation between the pixels' centres.
struct Shares {
  Index at, next;
  float first, second;  // of pixels `at` and `next`
};

EPSBALL_HD Shares shares(Index to, Index few, Index many) {
  const float from = (static_cast<float>(to) + 0.5f) * static_cast<float>(many) / static_cast<float>(few) - 0.5f;
  const Index at = from < static_cast<float>(many - 1) ? static_cast<Index>(from < 0.0f ? 0.0f : from) : many - 1;
  const float second = from - static_cast<float>(at);
  return {at, at + 1 < many ? at + 1 : at, 1.0f - second, second};
}

}  // namespace EPSBALL_ISA
}  // namespace epsball
