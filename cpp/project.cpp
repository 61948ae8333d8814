// Projections onto norm balls: exact for L-infinity, L1, L0 and their intersections with a box; L2 rescales, then
// clips.
//
// Coordinates are rounded towards x0, so the bound holds for the floats that are stored, not only before rounding.
#include "project.h"

#include "table.h"
#include "wide.h"

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

EPSBALL_INLINE Wide magnitude(Wide d) {
  return each([](auto v) { return v < 0.0 ? -v : v; }, d);
}

// A length >= 0 as a float that is no longer, denormals included: the nearest float to something a rounding shorter.
EPSBALL_INLINE Vec no_longer(Wide length) { return narrow(length * (1.0 - 0x1p-24) - 0x1p-150); }

// x0 moved by d, which comes out no longer than it is.
EPSBALL_INLINE Vec moved_by(Vec x0, Wide d) { return add_toward(x0, with_sign_of(no_longer(magnitude(d)), narrow(d))); }

void project_l2(const Row& r, float eps) {
  const auto difference = [&](Index i, Index n) {
    return widen(load(r.x + i, n)) - widen(load(r.x0 + i, n));  // a float could overflow
  };
  Wide squares = {};
  for_lanes(r.features, [&](Index i, Index n) {
    const Wide d = difference(i, n);
    squares = squares + d * d;
  });
  const double norm = __builtin_sqrt(sum(squares));
  if (norm > within(eps, r.features)) {
    const double scale = aim(eps, r.features) / norm;
    for_lanes(r.features,
              [&](Index i, Index n) { store(r.x + i, moved_by(load(r.x0 + i, n), difference(i, n) * scale), n); });
  }
  clip_row(r);
}

// |x_i - x0_i|, and how far the box lets x_i be from x0_i in that direction.
struct Distance {
  Wide length, room;
  Distance(const Row& r, Index i, Index n) {
    const Wide x0 = widen(load(r.x0 + i, n)), d = widen(load(r.x + i, n)) - x0;
    const Wide down = x0 - widen(load(r.lo + i, n)), up = widen(load(r.hi + i, n)) - x0;
    length = magnitude(d);
    room = each([](auto v, auto low, auto high) { return v < 0.0 ? low : high; }, d, down, up);
  }
  // What is left of it after a threshold of above - rise. For far points the two must not be one number: it would
  // round by more than eps.
  Wide beyond(double above, double rise) const {
    const auto cut = [](auto past, auto most) {
      const auto v = past < most ? past : most;
      return v > 0.0 ? v : decltype(v){};
    };
    return each(cut, (length - above) + rise, room);
  }
};

// 1 where a > b, else 0.
EPSBALL_INLINE Wide more(Wide a, Wide b) {
  return each([](auto v, auto w) { return v > w ? decltype(v){} + 1.0 : decltype(v){}; }, a, b);
}

struct Threshold {
  double above, rise;
};

// One of Newton's steps from t: what is over the target, and how many features shrink by it.
struct Look {
  double over, falling;
};

Look look_l1(const Row& r, double t, double target) {
  Wide left = {}, slope = {};
  for_lanes(r.features, [&](Index i, Index n) {
    const Distance d(r, i, n);
    const auto shrinks = [](auto past, auto room) {
      const auto none = decltype(past){};
      return past > 0.0 ? (past < room ? none + 1.0 : none) : none;
    };
    left = left + d.beyond(t, 0.0);
    slope = slope + each(shrinks, d.length - t, d.room);
  });
  return {sum(left) - target, sum(slope)};
}

// The same in floats, several times as fast.
Look rough_look_l1(const Row& r, double t, double target) {
  const Vec at = splat<Vec>(static_cast<float>(t));
  Vec left = {}, slope = {};
  for_lanes(r.features, [&](Index i, Index n) {
    const Vec x0 = load(r.x0 + i, n), d = load(r.x + i, n) - x0;
    const Vec room = select(d < 0.0f, x0 - load(r.lo + i, n), load(r.hi + i, n) - x0);
    const Vec past = abs(d) - at;
    left = left + max(min(past, room), Vec{});
    slope = slope + select((past > 0.0f) & (past < room), splat<Vec>(1.0f), Vec{});
  });
  return {static_cast<double>(sum(left)) - target, static_cast<double>(sum(slope))};
}

// About the threshold that leaves a total of `target`, in (0, 2 top): Newton's steps from t until they are as short as
// `close` times t, halving where they leave what is known to hold it.
template <class LookAt>
double newton_l1(double t, double top, double close, LookAt look_at) {
  double low = 0.0, high = 2.0 * top;
  for (int looks = 0; looks < 12; ++looks) {
    const Look at = look_at(t);
    (at.over > 0.0 ? low : high) = t;
    const double next = at.falling > 0.0 ? t + at.over / at.falling : high;
    const double step = next - t;
    if ((step < 0.0 ? -step : step) <= t * close) return next;
    t = next > low && next < high ? next : low + (high - low) / 2.0;
  }
  return t;
}

// Newton's threshold from floats, where none of their sums overflows, and one step of it in doubles.
double guess_l1(const Row& r, float top, double target) {
  if (!(static_cast<double>(top) * static_cast<double>(r.features) < 0x1p100)) return 0.0;
  const double t = newton_l1(0.0, top, 0x1p-16, [&](double at) { return rough_look_l1(r, at, target); });
  const Look at = look_l1(r, t, target);
  return at.falling > 0.0 ? t + at.over / at.falling : t;
}

// Where a threshold is the smallest float's double that leaves no more than `target`, as the guess's neighbour says in
// the same pass: that, and what the linear rest needs to know.
struct Found {
  bool exact;
  double total, growing;
};

Found look_around_l1(const Row& r, float half, double target) {
  const double above = 2.0 * half, below = 2.0 * float_of_bits(bits_of(half) - 1), next = above - below;
  Wide left = {}, before = {}, growing = {};
  for_lanes(r.features, [&](Index i, Index n) {
    const Distance d(r, i, n);
    const Wide rest = d.beyond(above, 0.0);
    left = left + rest;
    before = before + d.beyond(below, 0.0);
    growing = growing + more(d.beyond(above, next), rest);
  });
  const double total = sum(left);
  return {total <= target && sum(before) > target && !(next > target * 0x1p-16), total, sum(growing)};
}

// The threshold and the linear rest: `total` is left after above - rise, of which `growing` features have a share.
Threshold threshold_of(double above, double rise, double next, double target, double total, double growing) {
  const double share = growing > 0.0 ? (target - total) / growing : 0.0, whole = rise + share;
  return {above, (whole < next ? whole : next) * (1.0 - 0x1p-50)};  // the factor outweighs the rounding of the sums
}

// The threshold that leaves a total of `target`: first the float just above it (doubled, as a difference of two floats
// may overflow), then, where floats lie too far apart, a float to go below that, then the linear rest.
Threshold threshold_l1(const Row& r, float top, double target) {
  const double root = guess_l1(r, top, target);
  float guess = static_cast<float>(root / 2.0);
  if (2.0 * guess < root) guess = float_of_bits(bits_of(guess) + 1);
  if (guess > 0.0f && guess <= top) {
    const Found f = look_around_l1(r, guess, target);
    const double above = 2.0 * guess, next = above - 2.0 * float_of_bits(bits_of(guess) - 1);
    if (f.exact) return threshold_of(above, 0.0, next, target, f.total, f.growing);
  }
  const auto total = [&](double above, double rise) {
    Wide s = {};
    for_lanes(r.features, [&](Index i, Index n) { s = s + Distance(r, i, n).beyond(above, rise); });
    return sum(s);
  };
  guess = static_cast<float>(newton_l1(root, top, 0x1p-26, [&](double at) { return look_l1(r, at, target); }) / 2.0);
  const float half = first_float_near(guess, top, [&](float t) { return total(2.0 * t, 0.0) <= target; });
  const double above = 2.0 * half;
  float rise = 0.0f, next = half > 0.0f ? 2.0f * (half - float_of_bits(bits_of(half) - 1)) : 0.0f;
  if (next > target * 0x1p-16) {
    next = first_float(next, [&](float t) { return total(above, t) > target; });
    rise = next > 0.0f ? float_of_bits(bits_of(next) - 1) : 0.0f;
  }
  Wide growing = {};
  for_lanes(r.features, [&](Index i, Index n) {
    const Distance d(r, i, n);
    growing = growing + more(d.beyond(above, next), d.beyond(above, rise));
  });
  return threshold_of(above, rise, next, target, total(above, rise), sum(growing));
}

// Euclidean projection onto {||x - x0||_1 <= eps} and [lo, hi]: every distance shrinks by one threshold, and the room
// in the box caps it (Duchi et al. 2008; with the box: Croce and Hein 2021).
void project_l1(const Row& r, float eps) {
  Wide clipped = {};
  Vec tops = {};
  for_lanes(r.features, [&](Index i, Index n) {
    const Vec x = load(r.x + i, n), x0 = load(r.x0 + i, n);
    const Wide d = widen(clip(x, load(r.lo + i, n), load(r.hi + i, n))) - widen(x0);
    clipped = clipped + magnitude(d);
    tops = max(tops, abs(x * 0.5f - x0 * 0.5f));
  });
  if (sum(clipped) <= within(eps, r.features)) return clip_row(r);
  const float top = float_of_bits(bits_of(largest(tops)) + 1);  // in case the difference was rounded down
  const Threshold t = threshold_l1(r, top, aim(eps, r.features));
  for_lanes(r.features, [&](Index i, Index n) {
    const Vec x = load(r.x + i, n), x0 = load(r.x0 + i, n);
    const Wide length = Distance(r, i, n).beyond(t.above, t.rise);
    const auto towards = [](auto v, auto from, auto by) { return v < from ? -by : by; };
    const Vec moved = moved_by(x0, each(towards, widen(x), widen(x0), length));
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
