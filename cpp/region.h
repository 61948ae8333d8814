// Regions of images, and which outputs of a layer that slides over images read a pixel of one.
#pragma once

#include "table.h"

namespace epsball::EPSBALL_ISA {

EPSBALL_INLINE bool is_empty(const Rectangle& r) { return r.top >= r.bottom || r.left >= r.right; }

EPSBALL_INLINE Index area(const Rectangle& r) {
  return is_empty(r) ? 0 : Index{r.bottom - r.top} * Index{r.right - r.left};
}

// The smallest rectangle that holds both.
EPSBALL_INLINE Rectangle hull(const Rectangle& a, const Rectangle& b) {
  if (is_empty(a)) return b;
  if (is_empty(b)) return a;
  return {a.top < b.top ? a.top : b.top, a.left < b.left ? a.left : b.left, a.bottom > b.bottom ? a.bottom : b.bottom,
          a.right > b.right ? a.right : b.right};
}

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

// The outputs that read a pixel of the region; parts that have many readers in common become one.
EPSBALL_INLINE Region readers_of(const Region& changed, const Taps* down, Index height, const Taps* across,
                                 Index width) {
  Region r;
  for (int i = 0; i < 2; ++i) {
    Rectangle& part = r.part[i] = changed.part[i];
    if (is_empty(part)) continue;
    readers_along(down, height, part.top, part.bottom);
    readers_along(across, width, part.left, part.right);
  }
  const Rectangle both = hull(r.part[0], r.part[1]);
  if (area(both) <= area(r.part[0]) + area(r.part[1])) r = {both, {}};
  return r;
}

}  // namespace epsball::EPSBALL_ISA
