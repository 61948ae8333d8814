// Doubles for all lanes of a vector of floats, in two registers: a DVec, which is wider than one, the compiler takes
// apart lane by lane.
#pragma once

#include "simd.h"

namespace epsball::EPSBALL_ISA {

#if EPSBALL_LANES == 1
using Wide = double;
EPSBALL_INLINE Wide widen(Vec v) { return v; }
EPSBALL_INLINE Vec narrow(Wide v) { return static_cast<float>(v); }

template <class F, class... D>
EPSBALL_INLINE Wide each(F f, D... of) {
  return f(of...);
}
#else
typedef float HalfVec __attribute__((vector_size(2 * EPSBALL_LANES)));
typedef double Half __attribute__((vector_size(4 * EPSBALL_LANES)));
struct HalfVecs {
  HalfVec first, second;
};
struct Wide {
  Half first, second;
};

EPSBALL_INLINE Wide widen(Vec v) {
  const auto halves = __builtin_bit_cast(HalfVecs, v);
  return {__builtin_convertvector(halves.first, Half), __builtin_convertvector(halves.second, Half)};
}
EPSBALL_INLINE Vec narrow(Wide v) {
  const HalfVecs halves{__builtin_convertvector(v.first, HalfVec), __builtin_convertvector(v.second, HalfVec)};
  return __builtin_bit_cast(Vec, halves);
}

template <class F, class... D>
EPSBALL_INLINE Wide each(F f, D... of) {
  return {f(of.first...), f(of.second...)};
}
EPSBALL_INLINE Wide operator+(Wide a, Wide b) { return {a.first + b.first, a.second + b.second}; }
EPSBALL_INLINE Wide operator-(Wide a, Wide b) { return {a.first - b.first, a.second - b.second}; }
EPSBALL_INLINE Wide operator*(Wide a, Wide b) { return {a.first * b.first, a.second * b.second}; }
EPSBALL_INLINE Wide operator+(Wide a, double b) { return {a.first + b, a.second + b}; }
EPSBALL_INLINE Wide operator-(Wide a, double b) { return {a.first - b, a.second - b}; }
EPSBALL_INLINE Wide operator*(Wide a, double b) { return {a.first * b, a.second * b}; }
EPSBALL_INLINE double sum(Wide v) {
  double s = 0;
  for (Index i = 0; i < kLanes; ++i) s += i < kLanes / 2 ? v.first[i] : v.second[i - kLanes / 2];
  return s;
}
#endif

}  // namespace epsball::EPSBALL_ISA
