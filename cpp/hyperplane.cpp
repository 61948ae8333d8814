// The nearest point of a plane within the box, and how far the box goes.
#include "project.h"
#include "table.h"
#include "wide.h"

namespace epsball::EPSBALL_ISA {
namespace {

void farthest_corner(Stream, const CornerRows& a) {
  for (Index r = 0; r < a.rows; ++r) {
    DVec total = {};
    for_lanes(a.features, [&](Index i, Index n) {
      const Index at = r * a.ld + i;
      const DVec x = to_double(load(a.x + at, n));
      const DVec down = x - to_double(load(a.lo + at, n)), up = to_double(load(a.hi + at, n)) - x;
      const DVec d = up > down ? up : down;
      if (a.norm == Norm::linf) total = d > total ? d : total;
      if (a.norm == Norm::l2) total = total + d * d;
      if (a.norm == Norm::l1) total = total + d;
      if (a.norm == Norm::l0) total = total + (d > 0.0 ? DVec{} + 1.0 : DVec{});
    });
    const double norm = a.norm == Norm::linf ? largest(total) : sum(total);
    a.out[r] = static_cast<float>(a.norm == Norm::l2 ? __builtin_sqrt(norm) : norm);
  }
}

// One row of HyperplaneRows; `gap` is what the value must still rise. Until z is found its place keeps how far every
// feature can move in the direction that closes the gap, so that looks are short.
struct PlaneRow {
  Norm norm;
  Index features;
  const float* x;
  const float* normal;
  const float* lo;
  const float* hi;
  float* z;
  float sign;
  double gap;

  PlaneRow(const HyperplaneRows& a, Index r)
      : norm(a.norm),
        features(a.features),
        x(a.x + r * a.ld),
        normal(a.normal + r * a.ld),
        lo(a.lo + r * a.ld),
        hi(a.hi + r * a.ld),
        z(a.z + r * a.ld) {
    const double value = static_cast<double>(a.value[r]) + rise_from(a.at + r * a.ld);
    sign = value < 0.0 ? 1.0f : -1.0f;
    gap = value < 0.0 ? -value : value;
    for_lanes(features, [&](Index i, Index n) {
      const Vec towards = load(normal + i, n) * sign, from = load(x + i, n);
      const Vec down = from - load(lo + i, n), up = load(hi + i, n) - from;
      const Vec room = select(towards > 0.0f, up, select(towards < 0.0f, down, Vec{}));
      store(z + i, max(room, Vec{}), n);
    });
  }

  // How much higher the value is at x.
  double rise_from(const float* at) const {
    if (at == x) return 0.0;
    Wide rise = {};
    for_lanes(features, [&](Index i, Index n) {
      rise = rise + widen(load(normal + i, n)) * (widen(load(x + i, n)) - widen(load(at + i, n)));
    });
    return sum(rise);
  }

  // |normal|, and how far x can move. Floats, in which comparisons are the table's own vectors; what they add up to is
  // summed in float64.
  struct Way {
    Vec steepness, room;
  };
  EPSBALL_INLINE Way way(Index i, Index n) const { return {abs(load(normal + i, n)), load(z + i, n)}; }

  // Length of the features' moves under a multiplier, as in LinearRow.
  EPSBALL_INLINE Vec length(const Way& w, float t) const {
    if (norm == Norm::l1) return select(w.steepness > t, w.room, Vec{});
    return min(norm == Norm::linf ? splat<Vec>(t) : w.steepness * t, w.room);
  }
  double gain(float t) const {
    Wide total = {};
    for_lanes(features, [&](Index i, Index n) {
      const Way w = way(i, n);
      total = total + widen(w.steepness) * widen(length(w, t));
    });
    return sum(total);
  }
  // Whether t closes the gap and the float below it does not, in one pass.
  bool is_first(float t) const {
    const float below = float_of_bits(bits_of(t) - 1);
    Wide total = {}, total_below = {};
    for_lanes(features, [&](Index i, Index n) {
      const Way w = way(i, n);
      const Wide steepness = widen(w.steepness);
      total = total + steepness * widen(length(w, t));
      total_below = total_below + steepness * widen(length(w, below));
    });
    return sum(total) >= gap && !(sum(total_below) >= gap);
  }
  // The same in floats, several times as fast, and how fast it rises with t (not of L1, where it jumps): by the
  // features that are not at their ends of the box.
  struct Look {
    double gain, slope;
  };
  Look rough_look(float t) const {
    Vec total = {}, slope = {};
    for_lanes(features, [&](Index i, Index n) {
      const Way w = way(i, n);
      const Vec rate = norm == Norm::linf ? splat<Vec>(1.0f) : w.steepness;
      total = total + w.steepness * length(w, t);
      slope = slope + select(rate * t < w.room, w.steepness * rate, Vec{});
    });
    return {static_cast<double>(sum(total)), static_cast<double>(sum(slope))};
  }

  EPSBALL_INLINE void move(Index i, Index n, Vec length) const {
    const Vec moved = load(x + i, n) + with_sign_of(length, load(normal + i, n) * sign);
    store(z + i, clip(moved, load(lo + i, n), load(hi + i, n)), n);
  }
};

constexpr float kMost = 0x1.fffffep127f;

// About the multiplier that closes the gap: Newton's steps, which come from below, as the slope only falls; the last
// one has the gain in float64. kMost where the slope falls to 0 before.
float guess_multiplier(const PlaneRow& p) {
  float t = 0.0f;
  for (int looks = 0; looks < 12; ++looks) {
    const PlaneRow::Look at = p.rough_look(t);
    if (!(at.slope > 0.0)) return kMost;
    const float next = static_cast<float>(t + (p.gap - at.gain) / at.slope);
    if (next <= t * (1.0f + 0x1p-16f)) {
      const double root = t + (p.gap - p.gain(t)) / at.slope;
      const float near = static_cast<float>(root);
      return near < root ? float_of_bits(bits_of(near) + 1) : near;
    }
    t = next;
  }
  return t;
}

// The multiplier grows until the gap is closed, or every feature is at its end of the box: the smallest float that
// closes it, which the guess only finds sooner.
void nearest_of_plane(const PlaneRow& p) {
  float t = guess_multiplier(p);
  const bool beyond = t == kMost && p.gain(kMost) < p.gap, found = t > 0.0f && t < kMost && p.is_first(t);
  if (!beyond && !found) t = first_float_near(t, kMost, [&](float v) { return p.gain(v) >= p.gap; });
  for_lanes(p.features, [&](Index i, Index n) { p.move(i, n, p.length(p.way(i, n), t)); });
}

// Fills the steepest features' room first; equals in order of their index.
void nearest_of_plane_l1(const PlaneRow& p) {
  Vec tops = {};
  for_lanes(p.features, [&](Index i, Index n) { tops = max(tops, abs(load(p.normal + i, n))); });
  const float top = largest(tops);
  const float guess = first_float(top, [&](float v) { return p.rough_look(v).gain <= p.gap; });
  const float t = first_float_near(guess, top, [&](float v) { return p.gain(v) <= p.gap; });
  double left = p.gap - p.gain(t);
  for_lanes(p.features, [&](Index i, Index n) {
    const PlaneRow::Way w = p.way(i, n);
    float steepness[kLanes], room[kLanes], length[kLanes];
    store(steepness, w.steepness);
    store(room, w.room);
    store(length, p.length(w, t));
    for (Index j = 0; j < n; ++j) {
      if (steepness[j] != t || !(t > 0.0f)) continue;
      const float wanted = static_cast<float>(left / t);
      length[j] = wanted < room[j] ? wanted : room[j];
      left -= static_cast<double>(length[j]) * t;
    }
    p.move(i, n, load(length));
  });
}

void hyperplane(Stream, const HyperplaneRows& a) {
  for (Index r = 0; r < a.rows; ++r) {
    const PlaneRow p(a, r);
    a.norm == Norm::l1 ? nearest_of_plane_l1(p) : nearest_of_plane(p);
  }
}

}  // namespace

void add_hyperplane(Kernels& k) {
  k.farthest_corner = farthest_corner;
  k.hyperplane = hyperplane;
}

}  // namespace epsball::EPSBALL_ISA
