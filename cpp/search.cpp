// Steps of Carlini and Wagner and of EAD, and features that go back to x0 by what they cost.
#include "attacks/search_row.h"
#include "attacks/tighten_row.h"
#include "project.h"
#include "row.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

void box_adam(Stream, Index rows, const BoxAdam& a) {
  for (Index r = 0; r < rows; ++r) {
    const float rate = a.rate / (1.0f - a.power1[r]), correction2 = 1.0f / (1.0f - a.power2[r]), push = a.push[r];
    const float tau = a.tau ? a.tau[r] : 0.0f;
    const std::uint8_t restart = a.restart[r];
    DVec penalty = {};
    for_lanes(a.features, [&](Index i, Index n) {
      const Index at = r * a.ld + i;
      const Vec x0 = load(a.x0 + at, n), lo = load(a.lo + at, n), hi = load(a.hi + at, n);
      AdamState<Vec> from{load(a.x + at, n), load(a.w + at, n), load(a.moment1 + at, n), load(a.moment2 + at, n)};
      if (restart == kForget) from.moment1 = from.moment2 = Vec{};
      const Vec g = load(a.gradient + at, n);
      const AdamState<Vec> to = restart == kFromInput ? box_restart(x0, lo, hi)
                                                      : box_adam(a, from, x0, lo, hi, g, push, tau, rate, correction2);
      store(a.x + at, to.x, n);
      store(a.w + at, to.w, n);
      store(a.moment1 + at, to.moment1, n);
      store(a.moment2 + at, to.moment2, n);
      if (a.penalty) penalty = penalty + to_double(penalty_of(a, to.x - x0, tau));
    });
    if (a.penalty) a.penalty[r] = static_cast<float>(sum(penalty));
    a.moving[r] |= restart != kFromInput && !is_zero(a.gradient + r * a.ld, a.features);
  }
}

void shrink(Stream, Index rows, const Shrinkage& a) {
  for (Index r = 0; r < rows; ++r) {
    const float rate = shrink_rate(a, a.step[r]), momentum = shrink_momentum(a.step[r]);
    for_lanes(a.features, [&](Index i, Index n) {
      const Index at = r * a.ld + i;
      const Vec x0 = load(a.x0 + at, n), y = load(a.y + at, n), last = load(a.z + at, n);
      const Vec z =
          shrunk(y, x0, load(a.lo + at, n), load(a.hi + at, n), load(a.gradient + at, n), a.push[r], rate, a.beta);
      store(a.z + at, a.restart[r] == kFromInput ? x0 : z, n);
      store(a.y + at, a.restart[r] == kFromInput ? x0 : mul_add(z - last, splat<Vec>(momentum), z), n);
    });
    a.moving[r] |= a.restart[r] != kFromInput && !is_zero(a.gradient + r * a.ld, a.features);
  }
}

void freeze_row(const FreezeRows& a, Index r) {
  const Index at = r * a.ld;
  const auto cost = [&](Index i, Index n) {
    return cost_of(load(a.x + at + i, n), load(a.x0 + at + i, n), load(a.lo + at + i, n), load(a.hi + at + i, n),
                   load(a.gradient + at + i, n));
  };
  const auto count_up_to = [&](float t) {
    DVec count = {};
    for_lanes(a.features,
              [&](Index i, Index n) { count = count + to_double(select(cost(i, n) <= t, splat<Vec>(1.0f), Vec{})); });
    return sum(count);
  };
  DVec changed = {};
  for_lanes(a.features, [&](Index i, Index n) {
    const Vec d = abs(load(a.x + at + i, n) - load(a.x0 + at + i, n));
    changed = changed + to_double(select(d > a.changed, splat<Vec>(1.0f), Vec{}));
  });
  constexpr float kMost = 0x1.fffffep127f;
  const double wanted = count_to_freeze(a, sum(changed), count_up_to(a.cost));
  const float t = first_float(kMost, [&](float v) { return count_up_to(v) >= wanted; });
  double equals = wanted - (t > 0.0f ? count_up_to(next_down(t)) : 0.0);
  for (Index i = 0; i < a.features; ++i) {
    float &x = a.x[at + i], &lo = a.lo[at + i], &hi = a.hi[at + i];
    const float x0 = a.x0[at + i], c = cost_of(x, x0, lo, hi, a.gradient[at + i]);
    if (!(c <= t) || (c == t && (equals -= 1.0) < 0.0)) continue;
    x = lo = hi = x0;
  }
}

void freeze(Stream, Index rows, const FreezeRows& a) {
  for (Index r = 0; r < rows; ++r)
    if (a.won[r]) freeze_row(a, r);
}

}  // namespace

void add_search(Kernels& k) {
  k.box_adam = box_adam;
  k.shrink = shrink;
  k.freeze = freeze;
}

}  // namespace epsball::EPSBALL_ISA
