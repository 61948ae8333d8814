// A row's stream of uniforms: Philox blocks laid out so that vectors of any table hold consecutive elements.
#pragma once

#include "formulas.h"
#include "philox.h"

namespace epsball::EPSBALL_ISA {

// The four words of kLanes consecutive blocks from `block` on, for row `id`; `salt` separates uses of one seed.
EPSBALL_INLINE void philox_blocks(std::uint64_t seed, std::uint32_t salt, Index id, Index block, UVec (&words)[4]) {
  const std::uint64_t row = (std::uint64_t)id;
  words[0] = lane_index_u() + (std::uint32_t)block;
  words[1] = UVec{} + salt;
  words[2] = UVec{} + (std::uint32_t)row;
  words[3] = UVec{} + (std::uint32_t)(row >> 32);
  philox(words, seed);
}

// Runs f(group, offset, words): word w holds elements group + 16 w + offset + lane of the row's stream.
template <class F>
EPSBALL_INLINE void for_philox(Index n, std::uint64_t seed, std::uint32_t salt, Index id, F f) {
  for (Index group = 0; group < n; group += kPhiloxGroup)
    for (Index offset = 0; offset < 16; offset += kLanes) {
      UVec words[4];
      philox_blocks(seed, salt, id, group / 4 + offset, words);
      f(group, offset, words);
    }
}

// Runs f(i, m, u) with u the uniforms of elements i .. i + m - 1 in [0, 1).
template <class F>
EPSBALL_INLINE void for_uniforms(Index n, std::uint64_t seed, std::uint32_t salt, Index id, F f) {
  for_philox(n, seed, salt, id, [&](Index group, Index offset, UVec(&words)[4]) {
    for (int w = 0; w < 4; ++w) {
      const Index i = group + 16 * w + offset;
      if (i < n) f(i, n - i < kLanes ? n - i : kLanes, to_unit(words[w]));
    }
  });
}

}  // namespace epsball::EPSBALL_ISA
