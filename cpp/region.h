// Regions of images, and which outputs of a layer that slides over images read a pixel of one.
#pragma once

#include "table.h"

namespace epsball::EPSBALL_ISA {

EPSBALL_INLINE bool is_empty(const Region& r) { return r.top >= r.bottom || r.left >= r.right; }

// Along one axis: from the first to the last of `size` outputs that read something of [first, last).
EPSBALL_INLINE void readers_along(const Taps* taps, Index size, std::int32_t& first, std::int32_t& last) {
  const std::int32_t begin = first, end = last;
  first = last = 0;
  for (Index i = 0; i < size; ++i) {
    if (taps[i].count == 0 || taps[i].first >= end || taps[i].first + taps[i].count <= begin) continue;
    if (last == 0) first = static_cast<std::int32_t>(i);
    last = static_cast<std::int32_t>(i) + 1;
  }
}

EPSBALL_INLINE Region readers_of(Region r, const Taps* down, Index height, const Taps* across, Index width) {
  readers_along(down, height, r.top, r.bottom);
  readers_along(across, width, r.left, r.right);
  return r;
}

}  // namespace epsball::EPSBALL_ISA
