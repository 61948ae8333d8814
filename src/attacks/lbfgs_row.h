// L-BFGS within the box, row by row: what it does with a new point, written once for any way to work on a row.
#pragma once

#include "attacks/search_row.h"

namespace epsball {

inline constexpr int kPairs = 8;  // of a step and its change of gradient: those a row remembers, and room for the next

// Minimises ||x - x0||^2 + constant * loss in [lo, hi] by projected L-BFGS: the two-loop recursion over the last
// kPairs - 1 pairs (Liu and Nocedal 1989), restricted to features that no bound holds; the step is halved until the
// objective falls by Armijo's rule (Bertsekas 1982).
struct LbfgsRows {
  SearchRows search;  // without distance; `before` is the objective at the point accepted last
  Index features = 0, ld = 0;
  const float* x0 = nullptr;
  const float* lo = nullptr;
  const float* hi = nullptr;
  const float* gradient = nullptr;  // of -loss
  float* x = nullptr;               // the point being left, then the next
  float* x_k = nullptr;             // accepted last
  float* slope = nullptr;           // of the objective there
  float* direction = nullptr;
  float* history = nullptr;  // (rows) with stride history_ld: kPairs of s = x_k+1 - x_k and y, the slope's change
  Index history_ld = 0;
  float* step_length = nullptr;    // (rows) part of `direction` that was taken
  std::int32_t* pairs = nullptr;   // (rows) seen so far; -1: x is the first point of a search
  std::uint8_t* moving = nullptr;  // (rows) set to 1 where any gradient element is not 0
};

namespace EPSBALL_ISA {

// Whether a feature can move against the slope.
template <class V>
EPSBALL_HD auto free_to_move(V x, V lo, V hi, V slope) {
  return ((slope > 0.0f) & (x > lo)) | ((slope < 0.0f) & (x < hi));
}

// One row at work. `Ops` runs each(f) and sums sum(f) over the features, f being given a place that loads and stores
// them; `leads()` is true where what belongs to the row as a whole may be written.
template <class Ops>
struct LbfgsRow {
  const LbfgsRows& a;
  const Ops& ops;
  Index row, start;
  const float *x0, *lo, *hi, *gradient;
  float *x, *x_k, *slope, *direction;

  EPSBALL_DEVICE LbfgsRow(const LbfgsRows& rows, const Ops& o, Index r)
      : a(rows),
        ops(o),
        row(r),
        start(r * rows.ld),
        x0(rows.x0 + start),
        lo(rows.lo + start),
        hi(rows.hi + start),
        gradient(rows.gradient + start),
        x(rows.x + start),
        x_k(rows.x_k + start),
        slope(rows.slope + start),
        direction(rows.direction + start) {}

  EPSBALL_DEVICE float* s(int pair) const { return a.history + row * a.history_ld + (2 * pair) * a.ld; }
  EPSBALL_DEVICE float* y(int pair) const { return s(pair) + a.ld; }

  template <class P>
  EPSBALL_DEVICE auto new_slope(P p, float constant) const {
    return 2.0f * (p.load(x) - p.load(x0)) - p.load(gradient) * constant;
  }
  // The sum of u v over the free features.
  EPSBALL_DEVICE double free_dot(const float* u, const float* v) const {
    return ops.sum([&](auto p) {
      using V = decltype(p.load(u));
      const auto free = free_to_move(p.load(x_k), p.load(lo), p.load(hi), p.load(slope));
      return select(free, p.load(u) * p.load(v), V{});
    });
  }
  EPSBALL_DEVICE void add(double times, const float* u) const {
    const float t = static_cast<float>(times);
    ops.each([&](auto p) { p.store(direction, p.load(direction) + p.load(u) * t); });
  }

  // Accepts the point; a move along which the slope did not grow says nothing of the objective's shape.
  EPSBALL_DEVICE std::int32_t accept(float constant, std::int32_t pairs) const {
    if (pairs < 0) {
      pairs = 0;
    } else {
      float* const s_new = s(pairs % kPairs);
      float* const y_new = y(pairs % kPairs);
      ops.each([&](auto p) {
        p.store(s_new, p.load(x) - p.load(x_k));
        p.store(y_new, new_slope(p, constant) - p.load(slope));
      });
      const double along = ops.sum([&](auto p) { return p.load(s_new) * p.load(y_new); });
      const double size = ops.sum([&](auto p) { return p.load(y_new) * p.load(y_new); });
      pairs += along > 1e-6 * size ? 1 : 0;
    }
    ops.each([&](auto p) {
      p.store(slope, new_slope(p, constant));
      p.store(x_k, p.load(x));
    });
    return pairs;
  }

  // The two-loop recursion: direction = -(inverse Hessian, as far as the pairs tell) slope, of the free features.
  EPSBALL_DEVICE void two_loop(std::int32_t pairs) const {
    double part[kPairs];
    ops.each([&](auto p) { p.store(direction, -p.load(slope)); });
    double scale = 0.5;  // the inverse Hessian of the distance
    const std::int32_t count = pairs < kPairs ? pairs : kPairs - 1;
    for (std::int32_t k = 0; k < count; ++k) {
      const int pair = static_cast<int>((pairs - 1 - k) % kPairs);
      const double along = free_dot(s(pair), y(pair));
      part[k] = along > 0.0 ? free_dot(s(pair), direction) / along : 0.0;
      if (along > 0.0) add(-part[k], y(pair));
      if (k == 0 && along > 0.0) scale = along / free_dot(y(pair), y(pair));
    }
    ops.each([&](auto p) { p.store(direction, p.load(direction) * static_cast<float>(scale)); });
    for (std::int32_t k = count; k-- > 0;) {
      const int pair = static_cast<int>((pairs - 1 - k) % kPairs);
      const double along = free_dot(s(pair), y(pair));
      if (along > 0.0) add(part[k] - free_dot(y(pair), direction) / along, s(pair));
    }
    const bool falls = free_dot(direction, slope) < 0.0;
    ops.each([&](auto p) {
      using V = decltype(p.load(x));
      const auto free = free_to_move(p.load(x_k), p.load(lo), p.load(hi), p.load(slope));
      p.store(direction, select(free, falls ? p.load(direction) : p.load(slope) * -0.5f, V{}));
    });
  }
};

template <class Ops>
EPSBALL_DEVICE void lbfgs_row(const LbfgsRows& a, const Ops& ops, Index row) {
  const SearchRows& s = a.search;
  const LbfgsRow<Ops> r(a, ops, row);
  const float constant = s.constant[row], before = s.before[row];
  const bool adversarial = (s.predicted[row] == s.labels[row]) == s.targeted;
  bool over = s.step[row] + 1 > s.steps;  // read before the first sum: the leader writes when the others may be behind
  std::int32_t pairs = a.pairs[row];
  float step_length = a.step_length[row];
  const double length = ops.sum([&](auto p) {
    const auto d = p.load(r.x) - p.load(r.x0);
    return d * d;
  });
  const bool sloped = ops.sum([&](auto p) { return abs(p.load(r.gradient)); }) > 0.0;
  const float value = static_cast<float>(length + static_cast<double>(constant) * static_cast<double>(s.loss[row]));
  const double expected = ops.sum([&](auto p) { return p.load(r.slope) * (p.load(r.x) - p.load(r.x_k)); });
  const bool first = pairs < 0, accepted = first || value <= before + 1e-4f * static_cast<float>(expected);
  if (accepted) {
    over |= !first && before - value <= 1e-6f * abs(before);
    pairs = r.accept(constant, pairs);
    r.two_loop(pairs);
    step_length = 1.0f;
  } else {
    step_length *= 0.5f;
    over |= step_length < 1e-6f;
  }
  ops.each([&](auto p) {
    using V = decltype(p.load(r.x));
    const V next = clip(p.load(r.x_k) + p.load(r.direction) * step_length, p.load(r.lo), p.load(r.hi));
    p.store(r.x, over ? p.load(r.x0) : next);
  });
  if (!ops.leads()) return;
  a.moving[row] |= sloped;
  s.found[row] |= adversarial;
  ++s.step[row];
  if (accepted) s.before[row] = value;
  a.step_length[row] = step_length;
  a.pairs[row] = over ? -1 : pairs;
  if (over) next_search(s, row);
}

}  // namespace EPSBALL_ISA
}  // namespace epsball
