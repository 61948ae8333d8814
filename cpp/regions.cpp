// Regions of images that passes compute anew: where two images differ, and what becomes of a region once it is judged.
#include "region.h"

namespace epsball::EPSBALL_ISA {
namespace {

// Columns of a line that differ, from the first to the last.
struct Span {
  std::int32_t left, right;

  EPSBALL_INLINE void widen(const float* a, const float* b, Index width) {
    for_lanes(width, [&](Index i, Index n) {
      if (!any(load(a + i, n) != load(b + i, n))) return;
      for (Index x = i; x < i + n; ++x) {
        if (a[x] == b[x]) continue;
        const auto column = static_cast<std::int32_t>(x);
        left = column < left ? column : left;
        right = column < right ? right : column + 1;
      }
    });
  }
};

// Parted where most lines in a row are alike.
Region changed_region(const ChangedRegions& a, const float* x, const float* y) {
  Region r;
  Rectangle &above = r.part[0], &below = r.part[1];
  std::int32_t widest = 0;
  for (std::int32_t line = 0; line < a.height; ++line) {
    Span span{static_cast<std::int32_t>(a.width), 0};
    for (Index c = 0; c < a.channels; ++c) {
      const Index at = (c * a.height + line) * a.width;
      span.widen(x + at, y + at, a.width);
    }
    if (span.right == 0) continue;
    if (const std::int32_t gap = line - below.bottom; !is_empty(below) && gap > widest) {
      widest = gap;
      above = hull(above, below);
      below = {};
    }
    below = hull(below, {line, span.left, line + 1, span.right});
  }
  return r;
}

void changed_regions(Stream, const ChangedRegions& a) {
  for (Index row = 0; row < a.rows; ++row) a.region[row] = changed_region(a, a.x + row * a.ld, a.y + row * a.ld);
}

void join_regions(Stream, Index rows, const Region* other, Region* region) {
  for (Index row = 0; row < rows; ++row)
    for (int i = 0; i < 2; ++i) region[row].part[i] = hull(region[row].part[i], other[row].part[i]);
}

void settle(const SettleRegions& a, const Rectangle& r, const float* from, float* to) {
  for (Index y = r.top; y < r.bottom; ++y) {
    const Index at = (y * a.width + r.left) * a.channels;
    for_lanes((r.right - r.left) * a.channels,
              [&](Index i, Index n) { store(to + at + i, load(from + at + i, n), n); });
  }
}

void settle_regions(Stream, const SettleRegions& a) {
  for (Index row = 0; row < a.rows; ++row) {
    float *const x = a.x + row * a.ld, *const kept = a.kept + row * a.ld;
    for (const Rectangle& part : a.region[row].part)
      if (!is_empty(part)) a.keep[row] ? settle(a, part, x, kept) : settle(a, part, kept, x);
  }
}

}  // namespace

void add_regions(Kernels& k) {
  k.changed_regions = changed_regions;
  k.join_regions = join_regions;
  k.settle_regions = settle_regions;
}

}  // namespace epsball::EPSBALL_ISA
