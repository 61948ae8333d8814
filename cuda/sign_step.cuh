// The L-infinity step of one feature, as the end of a product.
#pragma once

#include "launch.cuh"

#include "formulas.h"
#include "kernels.h"

namespace epsball::cuda {

// Returns whether the gradient moves the row.
__device__ __forceinline__ bool take_step(const SignStep& s, Index row, Index j, float gradient) {
  const Index at = row * s.ld + j;
  const float from = s.x[at];
  if (s.best && s.improved[row]) s.best[s.slot[row] * s.ld + j] = from;
  s.x[at] = clip(from + with_sign_of(s.size[row], gradient), s.lo[at], s.hi[at]);
  return abs(gradient) > 0.0f;
}

}  // namespace epsball::cuda
