// Element formulas, written once for a lane type V: float (scalar table, CUDA) or a SIMD vector (cpp/simd.h).
#pragma once

#include "lane.h"

namespace epsball::EPSBALL_ISA {

template <class V>
EPSBALL_HD V abs(V x) {
  return float_of_bits(bits_of(x) & 0x7fffffff);
}

template <class V>
EPSBALL_HD V splat(float x) {
  return x - V{};  // folds to a broadcast; x + 0 would not, for it loses the sign of -0
}

// -1, 0 or 1; sign(0) = sign(-0) = sign(NaN) = 0.
template <class V>
EPSBALL_HD V sign(V x) {
  return select(x > 0.0f, splat<V>(1.0f), select(x < 0.0f, splat<V>(-1.0f), V{}));
}

// size * sign(v) without a multiplication; 0 where v is 0 or NaN.
template <class V>
EPSBALL_HD V with_sign_of(V size, V v) {
  return select(abs(v) > 0.0f, float_of_bits(bits_of(size) ^ (bits_of(v) & static_cast<std::int32_t>(0x80000000))),
                V{});
}

template <class V>
EPSBALL_HD V clip(V x, V lo, V hi) {
  return min(hi, max(lo, x));  // this order lets a NaN in x through
}

// ---- exact steps inside a ball ----

// The next float below (direction < 0) or above a finite x; -0 counts as 0.
template <class V>
EPSBALL_HD V next_down(V x) {
  auto b = bits_of(x);
  auto below = b + select(x > 0.0f, decltype(b){} - 1, decltype(b){} + 1);  // b - 1 would overflow for -0
  return select(x == 0.0f, splat<V>(-1.40129846e-45f), float_of_bits(below));
}

template <class V>
EPSBALL_HD V next_up(V x) {
  return -next_down(-x);
}

// The largest float v with v - x <= r exactly, not merely after rounding (r >= 0): TwoSum gives the rounding error of
// x + r, and a sum that was rounded up steps back.
template <class V>
EPSBALL_HD V add_down(V x, V r) {
  V s = x + r;
  V t = s - x;
  V error = (x - (s - t)) + (r - t);
  return select(error < 0.0f, next_down(s), s);
}

// The smallest float v with x - v <= r exactly.
template <class V>
EPSBALL_HD V sub_up(V x, V r) {
  return -add_down(-x, r);
}

// x + d rounded towards x, so that |result - x| <= |d| holds exactly.
template <class V>
EPSBALL_HD V add_toward(V x, V d) {
  return select(d > 0.0f, add_down(x, d), select(d < 0.0f, sub_up(x, -d), x));
}

// ---- elementary functions (about one ulp, the same operations on every table) ----

// 2^n for integers n given as floats, -126 <= n <= 127.
template <class V>
EPSBALL_HD V exp2_int(V n) {
  auto magic = n + 12582912.0f;  // 1.5 * 2^23: the low mantissa bits now hold n
  return float_of_bits((bits_of(magic) - 0x4b400000 + 127) << 23);
}

template <class V>
EPSBALL_HD V round_to_int(V x) {
  return (x + 12582912.0f) - 12582912.0f;
}

// x = n ln 2 + r; returns expm1(r) on |r| <= ln(2) / 2 and stores n.
template <class V>
EPSBALL_HD V expm1_reduced(V x, V& n) {
  n = round_to_int(x * 1.44269504f);
  V r = mul_add(n, splat<V>(-0.693145752f), x);
  r = mul_add(n, splat<V>(-1.42860677e-6f), r);
  V p = splat<V>(1.98412698e-4f);  // Taylor to r^7: the remainder is below 4e-9 relative
  p = mul_add(p, r, splat<V>(1.38888889e-3f));
  p = mul_add(p, r, splat<V>(8.33333333e-3f));
  p = mul_add(p, r, splat<V>(4.16666667e-2f));
  p = mul_add(p, r, splat<V>(1.66666667e-1f));
  p = mul_add(p, r, splat<V>(0.5f));
  return mul_add(p * r, r, r);
}

template <class V>
EPSBALL_HD V exp(V x) {
  V n;
  V y = expm1_reduced(clip(x, splat<V>(-104.0f), splat<V>(89.0f)), n) + 1.0f;
  V half = round_to_int(n * 0.5f);  // two factors, so that denormal results are reached gradually
  return y * exp2_int(half) * exp2_int(n - half);
}

template <class V>
EPSBALL_HD V expm1(V x) {
  V n;
  V p = expm1_reduced(clip(x, splat<V>(-25.0f), splat<V>(88.0f)), n);
  V scale = exp2_int(n);
  return mul_add(p, scale, scale - 1.0f);
}

// Natural logarithm of a positive normal float.
template <class V>
EPSBALL_HD V log(V x) {
  auto b = bits_of(x);
  auto exponent = (b - 0x3f3504f3) >> 23;  // mantissa in [sqrt(1/2), sqrt(2))
  V m = float_of_bits(b - (exponent << 23));
  V s = (m - 1.0f) / (m + 1.0f);  // log m = 2 atanh(s), |s| < 0.1716
  V s2 = s * s;
  V p = splat<V>(0.222222222f);
  p = mul_add(p, s2, splat<V>(0.285714286f));
  p = mul_add(p, s2, splat<V>(0.4f));
  p = mul_add(p, s2, splat<V>(0.666666667f));
  V small = mul_add(p * s2, s, s + s);
  V e = to_float(exponent);
  return mul_add(e, splat<V>(0.693145752f), mul_add(e, splat<V>(1.42860677e-6f), small));
}

// log(1 + u) for 0 <= u <= 1, accurate for tiny u (Kahan's correction).
template <class V>
EPSBALL_HD V log1p_unit(V u) {
  V w = u + 1.0f;
  V d = w - 1.0f;
  return select(d == 0.0f, u, log(w) * (u / select(d == 0.0f, splat<V>(1.0f), d)));
}

template <class V>
EPSBALL_HD V sigmoid(V x) {
  V e = exp(-abs(x));
  V y = splat<V>(1.0f) / (e + 1.0f);
  return select(x >= 0.0f, y, e * y);
}

template <class V>
EPSBALL_HD V softplus(V x) {
  return max(x, V{}) + log1p_unit(exp(-abs(x)));
}

template <class V>
EPSBALL_HD V tanh(V x) {
  V a = min(abs(x), splat<V>(10.0f));
  V e = expm1(a + a);
  V y = e / (e + 2.0f);
  return select(x < 0.0f, -y, y);
}

// Standard normal distribution function by Abramowitz and Stegun 7.1.26 (absolute error below 1e-7).
template <class V>
EPSBALL_HD V normal_cdf(V x) {
  V z = abs(x) * 0.707106781f;
  V t = splat<V>(1.0f) / mul_add(z, splat<V>(0.3275911f), splat<V>(1.0f));
  V p = splat<V>(1.061405429f);
  p = mul_add(p, t, splat<V>(-1.453152027f));
  p = mul_add(p, t, splat<V>(1.421413741f));
  p = mul_add(p, t, splat<V>(-0.284496736f));
  p = mul_add(p, t, splat<V>(0.254829592f));
  V tail = p * t * exp(-z * z) * 0.5f;
  return select(x < 0.0f, tail, splat<V>(1.0f) - tail);
}

// cos(2 pi u) and sin(2 pi u) for 0 <= u < 1, by reduction to a quarter turn.
template <class V>
EPSBALL_HD void cos_sin_turn(V u, V& c, V& s) {
  V q = round_to_int(u * 4.0f);
  V a = (u - q * 0.25f) * 6.28318531f;  // |a| <= pi / 4
  V a2 = a * a;
  V sp = splat<V>(2.75573192e-6f);
  sp = mul_add(sp, a2, splat<V>(-1.98412698e-4f));
  sp = mul_add(sp, a2, splat<V>(8.33333333e-3f));
  sp = mul_add(sp, a2, splat<V>(-1.66666667e-1f));
  V sa = mul_add(sp * a2, a, a);
  V cp = splat<V>(2.48015873e-5f);
  cp = mul_add(cp, a2, splat<V>(-1.38888889e-3f));
  cp = mul_add(cp, a2, splat<V>(4.16666667e-2f));
  cp = mul_add(cp, a2, splat<V>(-0.5f));
  V ca = mul_add(cp, a2, splat<V>(1.0f));
  V odd = q - 2.0f * round_to_int(q * 0.5f - 0.25f);  // q mod 2
  V cq = select(odd == 0.0f, ca, sa);
  V sq = select(odd == 0.0f, sa, ca);
  c = select(q == 1.0f, -cq, select(q == 2.0f, -cq, cq));
  s = select(q == 2.0f, -sq, select(q == 3.0f, -sq, sq));
}

}  // namespace epsball::EPSBALL_ISA
