// Step sizes that fall from one value to another along a cosine.
#pragma once

#include <cmath>

namespace epsball {

// The value at step 0 ... steps - 1: `first` at 0, on its way to `last` at `steps`.
inline float cosine(float first, float last, int step, int steps) {
  constexpr double kPi = 3.14159265358979323846;
  const double share = 0.5 * (1.0 + std::cos(kPi * static_cast<double>(step) / static_cast<double>(steps)));
  return static_cast<float>(last + (static_cast<double>(first) - last) * share);
}

}  // namespace epsball
