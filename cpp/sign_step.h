// The L-infinity step of one row, a vector of features at a time, as the end of a product.
#pragma once

#include "formulas.h"
#include "kernels.h"

namespace epsball::EPSBALL_ISA {

struct StepOfRow {
  float *x = nullptr, *best = nullptr;  // best: null where the row being left is not
  const float *lo = nullptr, *hi = nullptr;
  std::uint8_t* moving = nullptr;
  Vec size = {}, steepest = {};

  StepOfRow() = default;
  EPSBALL_INLINE StepOfRow(const SignStep& s, Index row, Index col = 0)
      : x(s.x + row * s.ld + col),
        lo(s.lo + row * s.ld + col),
        hi(s.hi + row * s.ld + col),
        moving(s.moving + row),
        size(splat<Vec>(s.size[row])) {
    if (s.best && s.improved[row]) best = s.best + s.slot[row] * s.ld + col;
  }

  // Steps features i .. i + n - 1, and returns where they are now.
  EPSBALL_INLINE Vec take(Index i, Vec gradient, Index n) {
    const Vec from = load(x + i, n);
    steepest = max(steepest, abs(gradient));
    if (best) store(best + i, from, n);
    const Vec to = clip(from + with_sign_of(size, gradient), load(lo + i, n), load(hi + i, n));
    store(x + i, to, n);
    return to;
  }

  EPSBALL_INLINE void finish() const {
    if (any(steepest > 0.0f)) __atomic_store_n(moving, 1, __ATOMIC_RELAXED);  // a team shares the row
  }
};

}  // namespace epsball::EPSBALL_ISA
