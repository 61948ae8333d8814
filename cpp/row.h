// What several kernels ask of a row.
#pragma once

#include "formulas.h"

namespace epsball::EPSBALL_ISA {

// Whether every element of a gradient is 0.
inline bool is_zero(const float* gradient, Index features) {
  Vec tops = {};
  for_lanes(features, [&](Index i, Index n) { tops = max(tops, abs(load(gradient + i, n))); });
  return !(largest(tops) > 0.0f);
}

}  // namespace epsball::EPSBALL_ISA
