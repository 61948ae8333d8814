// The single feature whose flip gains most.
#include "attacks/flip_row.h"
#include "row.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

// The feature of the largest gain, the first of equals; -1: none.
Index best_flip(const FlipRows& a, Index at) {
  Vec gains = {};
  IVec places = {};
  for_lanes(a.features, [&](Index i, Index n) {
    const Vec gain =
        gain_of(a, load(a.x + at + i, n), load(a.lo + at + i, n), load(a.hi + at + i, n), load(a.gradient + at + i, n));
    const Mask better = gain > gains;
    places = select(better, IVec{} + static_cast<std::int32_t>(i), places);
    gains = select(better, gain, gains);
  });
  float gain[kLanes], best = 0.0f;
  std::int32_t place[kLanes];
  store(gain, gains);
  store(place, places, kLanes);
  Index flip = -1;
  for (Index j = 0; j < kLanes; ++j) {
    const Index i = place[j] + j;
    if (!(gain[j] > best) && !(gain[j] == best && gain[j] > 0.0f && i < flip)) continue;
    best = gain[j];
    flip = i;
  }
  return flip;
}

void flip(Stream, Index rows, const FlipRows& a) {
  for (Index r = 0; r < rows; ++r) {
    const Index i = best_flip(a, r * a.ld), at = r * a.ld + i;
    if (i >= 0) a.x[at] = a.lo[at] = a.hi[at] = a.rise ? a.hi[at] : a.lo[at];
    a.moving[r] |= !is_zero(a.gradient + r * a.ld, a.features);
    a.done[r] |= i < 0 && a.moving[r];
  }
}

}  // namespace

void add_flip(Kernels& k) { k.flip = flip; }

}  // namespace epsball::EPSBALL_ISA
