// Projections of one row onto a norm ball around x0 within [lo, hi]; shared by project, step, random and rows.cpp.
#pragma once

#include "ball.h"
#include "formulas.h"
#include "kernels.h"

namespace epsball::EPSBALL_ISA {

// One row of BallRows.
struct Row {
  Index features;
  float* x;
  const float* x0;
  const float* lo;
  const float* hi;
};

EPSBALL_INLINE Row row_of(const BallRows& b, Index r) {
  return {b.features, b.x + r * b.ld, b.x0 + r * b.ld, b.lo + r * b.ld, b.hi + r * b.ld};
}

void project_row(Norm norm, const Row& row, float eps);

// The smallest non-negative float t with enough(t), which holds from some t up to `top` on: a bisection over the
// float's bits, so the answer is exact after 31 looks.
template <class Enough>
EPSBALL_INLINE float first_float(float top, Enough enough) {
  std::int32_t below = -1, at = bits_of(top);
  while (at - below > 1) {
    const std::int32_t middle = below + (at - below) / 2;
    (enough(float_of_bits(middle)) ? at : below) = middle;
  }
  return float_of_bits(at);
}

// The same with looks that begin at a guess and go away from it in growing strides: a good guess costs a few of them.
template <class Enough>
EPSBALL_INLINE float first_float_near(float guess, float top, Enough enough) {
  constexpr std::int32_t kLongest = 1 << 27;
  std::int32_t below = -1, at = bits_of(top), stride = 1;
  std::int32_t look = guess > 0.0f ? bits_of(guess) : 0;
  if (look >= at) look = at - 1;
  bool striding = true, before = false;
  for (int looks = 0; at - below > 1; ++looks) {
    const bool met = enough(float_of_bits(look));
    (met ? at : below) = look;
    striding = striding && (looks == 0 || met == before);
    before = met;
    const std::int32_t half = (at - below) / 2, reach = striding && stride < half ? stride : half;
    look = striding && met ? at - reach : below + reach;
    stride = stride < kLongest ? stride * 8 : stride;
  }
  return float_of_bits(at);
}

}  // namespace epsball::EPSBALL_ISA
