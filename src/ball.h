// How far inside a ball projections aim, so that a float64 norm stays within eps in whatever order it is summed.
#pragma once

#include "array.h"
#include "lane.h"

namespace epsball::EPSBALL_ISA {

// A float64 norm may be summed in any order and still stays within eps: two sums of n terms differ by up to 2 n
// roundings of 2^-53.
EPSBALL_HD double within(double eps, Index n) {
  const double slack = static_cast<double>(n) * 0x1p-52;
  return eps * (1.0 - (slack > 0x1p-36 ? slack : 0x1p-36));
}

// Where projections aim: summed again, what comes out is within.
EPSBALL_HD double aim(double eps, Index n) { return within(eps, n) * (1.0 - 0x1p-38); }

// Of n independent Gaussians whose norm is eps on average (L-infinity: each of them deviates by eps).
EPSBALL_HD float gaussian_deviation(Norm norm, float eps, Index n) {
  if (norm == Norm::linf) return eps;
  const float count = static_cast<float>(n);
  return norm == Norm::l2 ? eps / sqrt(count) : eps / (count * 0.797884561f);  // the mean of |v| is sqrt(2 / pi)
}

}  // namespace epsball::EPSBALL_ISA
