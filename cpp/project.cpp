// Projections onto norm balls: exact for L-infinity, L1, L0 and their intersections with a box; L2 rescales, then
// clips.
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
  for_lanes(r.features,
            [&](Index i, Index n) { store(r.x + i, clip(load(r.x + i, n), load(r.lo + i, n), load(r.hi + i, n)), n); });
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
  DVec length, room;
  Distance(const Row& r, Index i, Index n) {
    const DVec x0 = to_double(load(r.x0 + i, n)), d = to_double(load(r.x + i, n)) - x0;
    const DVec down = x0 - to_double(load(r.lo + i, n)), up = to_double(load(r.hi + i, n)) - x0;
    length = d < 0.0 ? -d : d;
    room = d < 0.0 ? down : up;
  }
  DVec beyond(double threshold) const {
    const DVec past = length - threshold, most = past < room ? past : room;
    return most > 0.0 ? most : DVec{};
  }
};

// Euclidean projection onto {||x - x0||_1 <= eps} and [lo, hi]: every distance shrinks by one threshold, and the room
// in the box caps it (Duchi et al. 2008; with the box: Croce and Hein 2021).
void project_l1(const Row& r, float eps) {
  DVec clipped = {};
  Vec top = {};
  for_lanes(r.features, [&](Index i, Index n) {
    const Vec x = load(r.x + i, n), x0 = load(r.x0 + i, n);
    const DVec d = to_double(clip(x, load(r.lo + i, n), load(r.hi + i, n))) - to_double(x0);
    clipped = clipped + (d < 0.0 ? -d : d);
    top = max(top, abs(x - x0));
  });
  if (sum(clipped) <= within(eps)) return clip_row(r);

  const double target = within(eps) * (1.0 - 0x1p-38);  // summed again, what comes out is within
  const auto length = [&](double threshold) {
    DVec s = {};
    for_lanes(r.features, [&](Index i, Index n) { s = s + Distance(r, i, n).beyond(threshold); });
    return sum(s);
  };
  const float above = first_float(largest(top), [&](float t) { return length(t) <= target; });
  // Below `above` the length grows linearly: what the float threshold leaves unused is shared by the moving features.
  DVec moving = {};
  for_lanes(r.features, [&](Index i, Index n) {
    const Distance d(r, i, n);
    moving = moving + ((d.length >= above) & (d.length - above < d.room) ? DVec{} + 1.0 : DVec{});
  });
  const double count = sum(moving), left = target - length(above);
  // The last term outweighs the rounding of lengths and threshold.
  const double threshold = (count > 0.0 ? above - left / count : above) + largest(top) * 0x1p-50;
  for_lanes(r.features, [&](Index i, Index n) {
    // The factor keeps the rounding to float from growing a distance.
    const DVec to = (Distance(r, i, n).length - threshold) * (1.0 - 0x1p-24);
    const Vec x0 = load(r.x0 + i, n), length = to_single(to > 0.0 ? to : DVec{});
    const Vec moved = add_toward(x0, select(load(r.x + i, n) < x0, -length, length));
    store(r.x + i, clip(moved, load(r.lo + i, n), load(r.hi + i, n)), n);
  });
}

// At most floor(eps) features may differ from x0: those where keeping the clipped change gains most, the first of
// equals. Keeping a change d as its clipped part c leaves (d - c)^2 of the distance instead of d^2.
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
    case Norm::linf:
      return project_linf(row, eps);
    case Norm::l2:
      return project_l2(row, eps);
    case Norm::l1:
      return project_l1(row, eps);
    case Norm::l0:
      return project_l0(row, eps);
  }
}

void add_project(Kernels& k) { k.project = project; }

}  // namespace epsball::EPSBALL_ISA
