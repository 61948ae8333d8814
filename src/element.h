// The caller's dtypes: an element's value, and x + d rounded towards x.
#pragma once

#include "half.h"

namespace epsball::EPSBALL_ISA {

struct Single {
  using Element = float;
  static EPSBALL_HD double value(float e) { return e; }
};

struct Double {
  using Element = double;
  static EPSBALL_HD double value(double e) { return e; }
  // x + d, one step closer to x where the sum was rounded away from it (TwoSum, as add_toward in formulas.h).
  static EPSBALL_HD double add_inside(double x, double d) {
    const double s = x + d, t = s - x;
    const double error = (x - (s - t)) + (d - t);
    if (error == 0.0 || (error < 0.0) != (d > 0.0) || s == 0.0) return s;
    const auto bits = __builtin_bit_cast(std::int64_t, s);
    return __builtin_bit_cast(double, (s > 0.0) == (d > 0.0) ? bits - 1 : bits + 1);
  }
  // Models see floats: what a double rounds away is lost on them.
  static EPSBALL_HD double add_outside(double x, double d) { return x + d; }
};

struct Half {
  using Element = std::uint16_t;
  static EPSBALL_HD double value(std::uint16_t e) { return half_to_float(e); }
  // Halves in the order of their values.
  static EPSBALL_HD std::uint16_t at(int order) {
    return static_cast<std::uint16_t>(order < 0 ? 0x8000 - order : order);
  }
  static EPSBALL_HD int order(std::uint16_t e) { return e & 0x8000 ? 0x8000 - e : e; }
  // The last half on the way from x to x + d; differences of halves are exact in float64.
  static EPSBALL_HD std::uint16_t add_inside(std::uint16_t x, double d) {
    const double from = value(x);
    const int step = d < 0.0 ? -1 : 1;
    const auto beyond = [&](int o) { return d < 0.0 ? value(at(o)) - from < d : value(at(o)) - from > d; };
    int o = order(float_to_half_down(static_cast<float>(from + d)));
    while (beyond(o)) o -= step;
    while (!beyond(o + step)) o += step;
    return at(o);
  }
  // The first half at or past x + d.
  static EPSBALL_HD std::uint16_t add_outside(std::uint16_t x, double d) {
    const std::uint16_t inside = add_inside(x, d);
    return value(inside) - value(x) == d ? inside : at(order(inside) + (d < 0.0 ? -1 : 1));
  }
};

}  // namespace epsball::EPSBALL_ISA
