// Attack steps: the box of an attack, and the move that raises the loss most within a norm, followed by the projection.
#include "project.h"
#include "table.h"
#include "wide.h"

namespace epsball::EPSBALL_ISA {
namespace {

void limits(Stream, const Limits& a) {
  for (Index r = 0; r < a.rows; ++r)
    for_lanes(a.features, [&](Index i, Index n) {
      const Index at = r * a.ld + i;
      const Vec x0 = load(a.x0 + at, n);
      Vec lo = load(a.box_lo + i, n), hi = load(a.box_hi + i, n);
      if (a.eps) {
        lo = max(lo, sub_up(x0, splat<Vec>(a.eps[r])));
        hi = min(hi, add_down(x0, splat<Vec>(a.eps[r])));
      }
      if (a.mask) {
        float free[kLanes] = {};
        for (Index j = 0; j < n; ++j) free[j] = a.mask[r * a.mask_ld + i + j];
        lo = select(load(free) == 0.0f, x0, lo);
        hi = select(load(free) == 0.0f, x0, hi);
      }
      // A float64 input may round to a float just outside the box; the box wins.
      store(a.lo + at, min(lo, hi), n);
      store(a.hi + at, hi, n);
    });
}

// What a step on the edge of the float range may leave: no infinity, which projections could not bring back.
EPSBALL_INLINE Vec finite(Vec x) { return clip(x, splat<Vec>(-0x1.fffffep127f), splat<Vec>(0x1.fffffep127f)); }

void step_linf(const Row& r, const float* gradient, float size) {
  for_lanes(r.features, [&](Index i, Index n) {
    const Vec moved = finite(load(r.x + i, n) + sign(load(gradient + i, n)) * size);
    store(r.x + i, clip(moved, load(r.lo + i, n), load(r.hi + i, n)), n);
  });
}

// x += size * g / ||g||_2 over the features that can move (lo < hi), with g divided by its largest magnitude first so
// that no square under- or overflows.
void step_l2(const Row& r, const float* gradient, float size) {
  const auto free = [&](Index i, Index n) {
    return select(load(r.lo + i, n) < load(r.hi + i, n), load(gradient + i, n), Vec{});
  };
  Vec tops = {};
  for_lanes(r.features, [&](Index i, Index n) { tops = max(tops, abs(free(i, n))); });
  const float top = largest(tops);
  if (!(top > 0.0f)) return;
  const float inverse = 1.0f / top;
  // The inverse of a denormal overflows; two factors reach it.
  const float first = inverse < __builtin_inff() ? 1.0f : 0x1p+100f;
  const float second = inverse < __builtin_inff() ? inverse : 1.0f / (top * 0x1p+100f);
  Wide squares = {};
  for_lanes(r.features, [&](Index i, Index n) {
    const Wide g = widen(free(i, n) * first * second);
    squares = squares + g * g;
  });
  const float scale = static_cast<float>(size / __builtin_sqrt(sum(squares)));
  for_lanes(r.features, [&](Index i, Index n) {
    store(r.x + i, finite(mul_add(free(i, n) * first * second, splat<Vec>(scale), load(r.x + i, n))), n);
  });
}

// Spends `size` on the largest |g| first, filling each feature's room in the box; equal |g| in order of their index.
void step_l1(const Row& r, const float* gradient, float top, float size) {
  const auto room = [&](Index i, Index n) {
    const Vec g = load(gradient + i, n), x = load(r.x + i, n);
    const Vec up = load(r.hi + i, n) - x, down = x - load(r.lo + i, n);
    return select(g > 0.0f, up, select(g < 0.0f, down, Vec{}));
  };
  const auto spent = [&](float above) {
    Wide s = {};
    for_lanes(r.features,
              [&](Index i, Index n) { s = s + widen(select(abs(load(gradient + i, n)) > above, room(i, n), Vec{})); });
    return sum(s);
  };
  const auto roughly_spent = [&](float above) {  // in floats, several times as fast
    Vec s = {};
    for_lanes(r.features,
              [&](Index i, Index n) { s = s + select(abs(load(gradient + i, n)) > above, room(i, n), Vec{}); });
    return sum(s);
  };
  const float guess = first_float(top, [&](float t) { return roughly_spent(t) <= size; });
  const float above = first_float_near(guess, top, [&](float t) { return spent(t) <= size; });
  float left = static_cast<float>(size - spent(above));
  for_lanes(r.features, [&](Index i, Index n) {
    const Vec g = load(gradient + i, n);
    float magnitude[kLanes], most[kLanes], move[kLanes] = {};
    store(magnitude, abs(g));
    store(most, room(i, n));
    for (Index j = 0; j < n; ++j) {
      if (magnitude[j] > above) move[j] = most[j];
      if (magnitude[j] == above && above > 0.0f) {
        move[j] = most[j] < left ? most[j] : left;
        left -= move[j];
      }
    }
    const Vec moved = finite(mul_add(sign(g), load(move), load(r.x + i, n)));
    store(r.x + i, clip(moved, load(r.lo + i, n), load(r.hi + i, n)), n);
  });
}

// The `count` largest |g| of features that have room to move, equals included, share `size` in equal parts.
void step_top(const Row& r, const float* gradient, float top, float count, float size) {
  const auto free = [&](Index i, Index n) {
    const Vec g = load(gradient + i, n), x = load(r.x + i, n);
    const Vec up = select(x < load(r.hi + i, n), g, Vec{}), down = select(x > load(r.lo + i, n), g, Vec{});
    return select(g > 0.0f, up, down);
  };
  const auto above = [&](float t) {
    Vec n = {};
    for_lanes(r.features, [&](Index i, Index m) { n = n + select(abs(free(i, m)) > t, splat<Vec>(1.0f), Vec{}); });
    return sum(n);
  };
  const float least = first_float(top, [&](float t) { return above(t) < count; });
  const auto moves = [&](Index i, Index n) {
    const Vec g = free(i, n);
    return select(abs(g) >= least, sign(g), Vec{});
  };
  Vec movers = {};
  for_lanes(r.features, [&](Index i, Index n) { movers = movers + abs(moves(i, n)); });
  const float all = sum(movers), share = all > 0.0f ? size / all : 0.0f;
  for_lanes(r.features, [&](Index i, Index n) {
    store(r.x + i, finite(mul_add(moves(i, n), splat<Vec>(share), load(r.x + i, n))), n);
  });
}

void step(Stream, const StepRows& a) {
  for (Index row = 0; row < a.ball.rows; ++row) {
    const Row r = row_of(a.ball, row);
    const float* gradient = a.gradient + row * a.gradient_ld;
    Vec tops = {};
    for_lanes(r.features, [&](Index i, Index n) { tops = max(tops, abs(load(gradient + i, n))); });
    const float top = largest(tops);
    if (!(top > 0.0f)) continue;  // no direction to go
    if (a.moving) a.moving[row] = 1;
    const float size = a.size[row];
    if (a.ball.norm == Norm::linf) {
      step_linf(r, gradient, size);
      continue;  // [lo, hi] holds the ball
    }
    if (a.ball.norm == Norm::l2) step_l2(r, gradient, size);
    if (a.ball.norm == Norm::l1) a.top ? step_top(r, gradient, top, a.top[row], size) : step_l1(r, gradient, top, size);
    project_row(a.ball.norm, r, a.ball.eps[row]);
  }
}

}  // namespace

void add_step(Kernels& k) {
  k.limits = limits;
  k.step = step;
}

}  // namespace epsball::EPSBALL_ISA
