// Floats that stay inside a double bound.
#pragma once

#include <cmath>
#include <limits>

namespace epsball {

// The largest float that is not above v.
inline float float_below(double v) {
  const float f = static_cast<float>(v);
  return static_cast<double>(f) > v ? std::nextafter(f, -std::numeric_limits<float>::infinity()) : f;
}

// The smallest float that is not below v.
inline float float_above(double v) { return -float_below(-v); }

}  // namespace epsball
