// Regions of images that passes compute anew: where two images differ, and what becomes of a region once it is judged.
#include "region.h"

namespace epsball::EPSBALL_ISA {
namespace {

// Widens the region to the values of line y of a channel that differ.
EPSBALL_INLINE void widen(Region& region, const float* a, const float* b, Index y, Index width) {
  for_lanes(width, [&](Index i, Index n) {
    if (!any(load(a + i, n) != load(b + i, n))) return;
    for (Index x = i; x < i + n; ++x) {
      if (a[x] == b[x]) continue;
      const auto row = static_cast<std::int32_t>(y), column = static_cast<std::int32_t>(x);
      region.top = row < region.top ? row : region.top;
      region.left = column < region.left ? column : region.left;
      region.bottom = row < region.bottom ? region.bottom : row + 1;
      region.right = column < region.right ? region.right : column + 1;
    }
  });
}

void changed_regions(Stream, const ChangedRegions& a) {
  const Region nothing{static_cast<std::int32_t>(a.height), static_cast<std::int32_t>(a.width), 0, 0};
  for (Index row = 0; row < a.rows; ++row) {
    Region region = nothing;
    for (Index line = 0; line < a.channels * a.height; ++line)
      widen(region, a.x + row * a.ld + line * a.width, a.y + row * a.ld + line * a.width, line % a.height, a.width);
    a.region[row] = region;
  }
}

void join_regions(Stream, Index rows, const Region* other, Region* region) {
  for (Index row = 0; row < rows; ++row) {
    const Region a = other[row];
    Region& r = region[row];
    if (is_empty(a)) continue;
    if (is_empty(r)) {
      r = a;
      continue;
    }
    r.top = a.top < r.top ? a.top : r.top;
    r.left = a.left < r.left ? a.left : r.left;
    r.bottom = a.bottom > r.bottom ? a.bottom : r.bottom;
    r.right = a.right > r.right ? a.right : r.right;
  }
}

void settle_regions(Stream, const SettleRegions& a) {
  for (Index row = 0; row < a.rows; ++row) {
    const Region r = a.region[row];
    const float* from = (a.keep[row] ? a.x : a.kept) + row * a.ld;
    float* to = (a.keep[row] ? a.kept : a.x) + row * a.ld;
    for (Index y = r.top; y < r.bottom; ++y) {
      const Index at = (y * a.width + r.left) * a.channels;
      for_lanes((r.right - r.left) * a.channels,
                [&](Index i, Index n) { store(to + at + i, load(from + at + i, n), n); });
    }
  }
}

}  // namespace

void add_regions(Kernels& k) {
  k.changed_regions = changed_regions;
  k.join_regions = join_regions;
  k.settle_regions = settle_regions;
}

}  // namespace epsball::EPSBALL_ISA
