// Projections onto norm balls: exact for L-infinity, L1, L0 and their intersections with a box; L2 rescales, then clips.
//
// Coordinates are rounded towards x0, so the bound holds for the floats that are stored, not only before rounding.
#include "project.h"

#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

void project_linf(const Row& r, float eps) {
  for_lanes(r.features, [&](Index i, Index n) {
    const Vec x0 = load(r.x0 + i, n), e = splat<Vec>(eps);
    const Vec v = clip(load(r.x + i, n), sub_up(x0, e), add_down(x0, e));
    store(r.x + i, clip(v, load(r.lo + i, n), load(r.hi + i, n)), n);
  });
}

void clip_row(const Row& r) {
  for_lanes(r.features, [&](Index i, Index n) {
    store(r.x + i, clip(load(r.x + i, n), load(r.lo + i, n), load(r.hi + i, n)), n);
  });
}

void project_l2(const Row& r, float eps) {
  DVec squares = {};
  for_lanes(r.features, [&](Index i, Index n) {
    const DVec d = to_double(load(r.x + i, n)) - to_double(load(r.x0 + i, n));
    squares = squares + d * d;
  });
  const double norm = __builtin_sqrt(sum(squares));
  if (norm > within(eps)) {
    // 2^-22 covers the float rounding of each difference and product.
    const float scale = static_cast<float>(within(eps) / norm * (1.0 - 0x1p-22));
    for_lanes(r.features, [&](Index i, Index n) {
      const Vec x0 = load(r.x0 + i, n);
      store(r.x + i, add_toward(x0, (load(r.x + i, n) - x0) * scale), n);
    });
  }
  clip_row(r);
}

// |x_i - x0_i|, and how far the box lets x_i be from x0_i in that direction.
struct Distance {
  Vec length, room;
  Distance(const Row& r, Index i, Index n) {
    const Vec x0 = load(r.x0 + i, n), d = load(r.x + i, n) - x0;
    length = abs(d);
    room = select(d < 0.0f, x0 - load(r.lo + i, n), load(r.hi + i, n) - x0);
  }
  Vec beyond(Vec threshold) const { return min(max(length - threshold, Vec{}), room); }
};

// Euclidean projection onto {||x - x0||_1 <= eps} and [lo, hi]: every distance shrinks by one threshold, and the room in
// the box caps it (Duchi et al. 2008; with the box: Croce and Hein 2021).
void project_l1(const Row& r, float eps) {
  DVec clipped = {};
  Vec top = {};
  for_lanes(r.features, [&](Index i, Index n) {
    const Vec x = load(r.x + i, n), x0 = load(r.x0 + i, n);
    const DVec d = to_double(clip(x, load(r.lo + i, n), load(r.hi + i, n))) - to_double(x0);
    clipped = clipped + (d < 0.0 ? -d : d);
    top = max(top, abs(x - x0));
  });
  const double target = within(eps);
  if (sum(clipped) <= target) return clip_row(r);

  const auto length = [&](float threshold) {
    DVec s = {};
    for_lanes(r.features,
              [&](Index i, Index n) { s = s + to_double(Distance(r, i, n).beyond(splat<Vec>(threshold))); });
    return sum(s);
  };
  const float above = first_float(largest(top), [&](float t) { return length(t) <= target; });
  // Below `above` the length grows linearly: what the float threshold leaves unused is shared by the moving features.
  Vec moving = {};
  for_lanes(r.features, [&](Index i, Index n) {
    const Distance d(r, i, n);
    const Mask free = (d.length >= above) & (d.length - above < d.room);
    moving = moving + first_lanes(select(free, splat<Vec>(1.0f), Vec{}), n);
  });
  const float count = sum(moving);
  const double threshold = count > 0.0f ? above - (target - length(above)) / count : above;
  for_lanes(r.features, [&](Index i, Index n) {
    const Distance d(r, i, n);
    // The factor keeps the rounding to float from growing a distance.
    const Vec to = max(to_single((to_double(d.length) - threshold) * (1.0 - 0x1p-24)), Vec{});
    const Vec x0 = load(r.x0 + i, n);
    const Vec moved = add_toward(x0, select(load(r.x + i, n) < x0, -to, to));
    store(r.x + i, clip(moved, load(r.lo + i, n), load(r.hi + i, n)), n);
  });
}

// At most floor(eps) features may differ from x0: those where keeping the clipped change gains most, the first of equals.
// Keeping a change d as its clipped part c leaves (d - c)^2 of the distance instead of d^2.
EPSBALL_INLINE Vec l0_gain(const Row& r, Index i, Index n) {
  const Vec x = load(r.x + i, n), d = x - load(r.x0 + i, n);
  const Vec over = x - clip(x, load(r.lo + i, n), load(r.hi + i, n));
  return max(d * d - over * over, Vec{});
}

void project_l0(const Row& r, float eps) {
  const auto gain = [&](Index i, Index n) { return l0_gain(r, i, n); };
  Vec top = {};
  for_lanes(r.features, [&](Index i, Index n) { top = max(top, gain(i, n)); });
  const float above = first_float(largest(top), [&](float t) {
    Vec count = {};
    for_lanes(r.features, [&](Index i, Index n) { count = count + select(gain(i, n) > t, splat<Vec>(1.0f), Vec{}); });
    return sum(count) <= eps;
  });
  // One feature at a time from here on: ties are admitted in order while there is room.
  float room = eps;
  for_lanes(r.features, [&](Index i, Index n) { room -= sum(select(gain(i, n) > above, splat<Vec>(1.0f), Vec{})); });
  for_lanes(r.features, [&](Index i, Index n) {
    float g[kLanes], kept[kLanes];
    store(g, gain(i, n));
    store(kept, clip(load(r.x + i, n), load(r.lo + i, n), load(r.hi + i, n)));
    for (Index j = 0; j < n; ++j) {
      const bool tie = g[j] == above && above > 0.0f && room >= 1.0f;
      room -= tie;
      r.x[i + j] = g[j] > above || tie ? kept[j] : r.x0[i + j];
    }
  });
}

void project(Stream, const BallRows& b) {
  for (Index r = 0; r < b.rows; ++r) project_row(b.norm, row_of(b, r), b.eps[r]);
}

}  // namespace

void project_row(Norm norm, const Row& row, float eps) {
  switch (norm) {
    case Norm::linf: return project_linf(row, eps);
    case Norm::l2: return project_l2(row, eps);
    case Norm::l1: return project_l1(row, eps);
    case Norm::l0: return project_l0(row, eps);
  }
}

void add_project(Kernels& k) { k.project = project; }

}  // namespace epsball::EPSBALL_ISA
