// How packed matrices lie in panels of columns, and counts that become constants.
#pragma once

#include <utility>

#include "formulas.h"

namespace epsball::EPSBALL_ISA {

// Vectors of a full panel, and accumulators of a tile: a tile of V vectors has kAccumulators / V rows, so that it fits
// the registers beside V vectors of B and one broadcast of A. Wide and low beats narrow and high: fewer loads per
// multiply-add (10 for 24 at 6 x 4 against 16 for 28 at 14 x 2).
#if EPSBALL_LANES == 16 || EPSBALL_LANES == 4
inline constexpr int kTileVecs = 4, kAccumulators = 24;  // of 32 registers
#elif EPSBALL_LANES == 8
inline constexpr int kTileVecs = 2, kAccumulators = 12;  // of 16
#else
inline constexpr int kTileVecs = 4, kAccumulators = 8;
#endif
inline constexpr Index kPanel = kTileVecs * kLanes;

// Width in vectors of the panel that starts at column j; the last one is as narrow as it can be.
EPSBALL_INLINE Index panel_vecs(Index n, Index j) {
  Index left = (n - j + kLanes - 1) / kLanes;
  return left < kTileVecs ? left : kTileVecs;
}

// Calls f<count>(), for which a count of 1 ... Most becomes a constant.
template <class F, int... N>
EPSBALL_INLINE void with_count(Index count, F f, std::integer_sequence<int, N...>) {
  ((count == N + 1 ? f.template operator()<N + 1>() : void()), ...);
}
template <int Most, class F>
EPSBALL_INLINE void with_count(Index count, F f) {
  with_count(count, f, std::make_integer_sequence<int, Most>());
}

}  // namespace epsball::EPSBALL_ISA
