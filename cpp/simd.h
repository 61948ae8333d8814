// One table's vector: the lane operations of src/formulas.h for kLanes floats, on GCC / Clang vector extensions.
#pragma once

#include <cstdint>

#include "array.h"

#define EPSBALL_CAT_(a, b) a##b
#define EPSBALL_CAT(a, b) EPSBALL_CAT_(a, b)
#define EPSBALL_LANES_scalar 1
#define EPSBALL_LANES_neon 4
#define EPSBALL_LANES_avx2 8
#define EPSBALL_LANES_avx512 16
#define EPSBALL_LANES EPSBALL_CAT(EPSBALL_LANES_, EPSBALL_ISA)

#if EPSBALL_LANES >= 8
#include <immintrin.h>
#elif EPSBALL_LANES == 4
#include <arm_neon.h>
#endif

#define EPSBALL_INLINE inline __attribute__((always_inline))

namespace epsball::EPSBALL_ISA {

inline constexpr Index kLanes = EPSBALL_LANES;

#if EPSBALL_LANES == 1

using Vec = float;
using IVec = std::int32_t;
using UVec = std::uint32_t;
using Mask = bool;

EPSBALL_INLINE Vec load(const float* p) { return *p; }
EPSBALL_INLINE void store(float* p, Vec v) { *p = v; }
EPSBALL_INLINE Vec load(const float* p, Index) { return *p; }
EPSBALL_INLINE void store(float* p, Vec v, Index) { *p = v; }
EPSBALL_INLINE Vec gather(const float* p, Index, Index) { return *p; }
EPSBALL_INLINE void scatter(float* p, Index, Vec v, Index) { *p = v; }
EPSBALL_INLINE IVec load(const std::int32_t* p, Index) { return *p; }
EPSBALL_INLINE void store(std::int32_t* p, IVec v, Index) { *p = v; }
EPSBALL_INLINE bool any(Mask m) { return m; }
EPSBALL_INLINE Index store_indices(Mask m, std::int32_t base, std::int32_t* to) {
  *to = base;
  return m;
}
EPSBALL_INLINE UVec lane_index_u() { return 0u; }
EPSBALL_INLINE Vec to_unit(UVec u) { return static_cast<float>(u >> 8) * 5.9604645e-8f; }
EPSBALL_INLINE Vec first_lanes(Vec v, Index) { return v; }
EPSBALL_INLINE float sum(Vec v) { return v; }
EPSBALL_INLINE Vec sums(Vec* v) { return v[0]; }
EPSBALL_INLINE float largest(Vec v) { return v; }
EPSBALL_INLINE void transpose(Vec*) {}
using DVec = double;
EPSBALL_INLINE DVec to_double(Vec v) { return v; }
EPSBALL_INLINE Vec to_single(DVec v) { return static_cast<float>(v); }
EPSBALL_INLINE double sum(DVec v) { return v; }
EPSBALL_INLINE double largest(DVec v) { return v; }
EPSBALL_INLINE DVec select(Mask m, DVec a, DVec b) { return m ? a : b; }

#else

typedef float Vec __attribute__((vector_size(4 * EPSBALL_LANES)));
typedef std::int32_t IVec __attribute__((vector_size(4 * EPSBALL_LANES)));
typedef std::uint32_t UVec __attribute__((vector_size(4 * EPSBALL_LANES)));
typedef double DVec __attribute__((vector_size(8 * EPSBALL_LANES)));
typedef float VecU __attribute__((vector_size(4 * EPSBALL_LANES), aligned(4), may_alias));
typedef std::int32_t IVecU __attribute__((vector_size(4 * EPSBALL_LANES), aligned(4), may_alias));
using Mask = IVec;  // -1 or 0 in each lane

EPSBALL_INLINE IVec bits_of(Vec x) { return (IVec)x; }
EPSBALL_INLINE Vec float_of_bits(IVec x) { return (Vec)x; }
EPSBALL_INLINE Vec to_float(IVec x) { return __builtin_convertvector(x, Vec); }
EPSBALL_INLINE Vec select(Mask m, Vec a, Vec b) { return m ? a : b; }
EPSBALL_INLINE IVec select(Mask m, IVec a, IVec b) { return m ? a : b; }

#if EPSBALL_LANES == 16
EPSBALL_INLINE Vec mul_add(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
EPSBALL_INLINE Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
EPSBALL_INLINE Vec min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
EPSBALL_INLINE Vec sqrt(Vec x) { return _mm512_sqrt_ps(x); }
EPSBALL_INLINE bool any(Mask m) { return _mm512_movepi32_mask((__m512i)m) != 0; }
#elif EPSBALL_LANES == 8
EPSBALL_INLINE Vec mul_add(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
EPSBALL_INLINE Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
EPSBALL_INLINE Vec min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
EPSBALL_INLINE Vec sqrt(Vec x) { return _mm256_sqrt_ps(x); }
EPSBALL_INLINE bool any(Mask m) { return _mm256_movemask_ps((__m256)m) != 0; }
#else
EPSBALL_INLINE Vec mul_add(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
EPSBALL_INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }
EPSBALL_INLINE Vec min(Vec a, Vec b) { return a < b ? a : b; }
EPSBALL_INLINE Vec sqrt(Vec x) { return vsqrtq_f32(x); }
EPSBALL_INLINE bool any(Mask m) { return vmaxvq_u32((uint32x4_t)m) != 0; }
#endif

EPSBALL_INLINE Vec load(const float* p) { return *(const VecU*)p; }
EPSBALL_INLINE void store(float* p, Vec v) { *(VecU*)p = v; }

// The first n lanes, zeros beyond; called with n = kLanes in main loops, where it is one plain load.
#if EPSBALL_LANES == 16
EPSBALL_INLINE Vec load(const float* p, Index n) {
  if (n == kLanes) return load(p);
  return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
EPSBALL_INLINE void store(float* p, Vec v, Index n) {
  if (n == kLanes) return store(p, v);
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v);
}
#else
EPSBALL_INLINE Vec load(const float* p, Index n) {
  if (n == kLanes) return load(p);
  Vec v = {};
  for (Index i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
EPSBALL_INLINE void store(float* p, Vec v, Index n) {
  if (n == kLanes) return store(p, v);
  for (Index i = 0; i < n; ++i) p[i] = v[i];
}
#endif
EPSBALL_INLINE IVec load(const std::int32_t* p, Index n) {
  if (n == kLanes) return *(const IVecU*)p;
  IVec v = {};
  for (Index i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
EPSBALL_INLINE void store(std::int32_t* p, IVec v, Index n) {
  if (n == kLanes) {
    *(IVecU*)p = v;
    return;
  }
  for (Index i = 0; i < n; ++i) p[i] = v[i];
}

EPSBALL_INLINE IVec lane_index_i() {
  IVec v = {};
  for (int i = 0; i < kLanes; ++i) v[i] = i;
  return v;
}
EPSBALL_INLINE UVec lane_index_u() { return (UVec)lane_index_i(); }

// One element from each of n rows that lie `stride` floats apart, zeros beyond. A lane written by itself and read back
// as a vector would wait for the store, hence the instructions.
#if EPSBALL_LANES == 16
EPSBALL_INLINE Vec gather(const float* p, Index stride, Index n) {
  if (n == 1) return load(p, 1);
  const IVec at = lane_index_i() * static_cast<std::int32_t>(stride);
  return _mm512_mask_i32gather_ps(Vec{}, (__mmask16)((1u << n) - 1), (__m512i)at, p, 4);
}
EPSBALL_INLINE void scatter(float* p, Index stride, Vec v, Index n) {
  if (n == 1) return store(p, v, 1);
  const IVec at = lane_index_i() * static_cast<std::int32_t>(stride);
  _mm512_mask_i32scatter_ps(p, (__mmask16)((1u << n) - 1), (__m512i)at, v, 4);
}
#else
EPSBALL_INLINE Vec gather(const float* p, Index stride, Index n) {
#if EPSBALL_LANES == 8
  if (n == 1) return _mm256_zextps128_ps256(_mm_load_ss(p));
  const IVec lane = lane_index_i();
  const Mask mask = lane < static_cast<std::int32_t>(n);
  return _mm256_mask_i32gather_ps(Vec{}, p, (__m256i)(lane * static_cast<std::int32_t>(stride)), (__m256)mask, 4);
#else
  Vec v = {};
  for (Index i = 0; i < n; ++i) v[i] = p[i * stride];
  return v;
#endif
}
EPSBALL_INLINE void scatter(float* p, Index stride, Vec v, Index n) {
  for (Index i = 0; i < n; ++i) p[i * stride] = v[i];
}
#endif

// v with zeros from lane n on.
EPSBALL_INLINE Vec first_lanes(Vec v, Index n) {
  if (n == kLanes) return v;
  return select(lane_index_i() < (std::int32_t)n, v, Vec{});
}

// Swaps the upper halves of a's blocks of 2 S lanes with the lower halves of b's.
template <int S>
EPSBALL_INLINE void swap_halves(Vec& a, Vec& b) {
  const IVec lane = lane_index_i();
  const Vec from = a;
#if defined(__clang__)
  const Vec up = from, down = b;
  for (int i = 0; i < kLanes; ++i) {
    a[i] = i & S ? down[i - S] : up[i];
    b[i] = i & S ? down[i] : up[i + S];
  }
#else
  const auto lanes = static_cast<std::int32_t>(kLanes);
  a = __builtin_shuffle(from, b, select((lane & S) == 0, lane, lane - S + lanes));
  b = __builtin_shuffle(from, b, select((lane & S) == 0, lane + S, lane + lanes));
#endif
}

template <int S>
EPSBALL_INLINE void transpose(Vec* v) {
  if constexpr (S > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i)
      if (!(i & S)) swap_halves<S>(v[i], v[i + S]);
    transpose<S / 2>(v);
  }
}
// v[i][j] <-> v[j][i] for kLanes vectors.
EPSBALL_INLINE void transpose(Vec* v) { transpose<static_cast<int>(kLanes) / 2>(v); }

// Writes base + i for every lane i of the mask, in order, and returns how many; `to` has room for a whole vector.
EPSBALL_INLINE Index store_indices(Mask m, std::int32_t base, std::int32_t* to) {
#if EPSBALL_LANES == 16
  const __mmask16 bits = _mm512_movepi32_mask((__m512i)m);
  _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(bits, (__m512i)(lane_index_i() + base)));
  return __builtin_popcount(bits);
#else
  Index count = 0;
  for (std::int32_t i = 0; i < kLanes; ++i) {
    to[count] = base + i;
    count -= m[i];
  }
  return count;
#endif
}

// 24 random bits to [0, 1).
EPSBALL_INLINE Vec to_unit(UVec u) { return to_float((IVec)(u >> 8)) * 5.9604645e-8f; }

// Even and odd lanes by themselves, as the processor multiplies 32 bits to 64; compilers widen every lane instead.
#if EPSBALL_LANES == 16
EPSBALL_INLINE void mul_hi_lo(UVec a, std::uint32_t b, UVec& hi, UVec& lo) {
  const __m512i v = (__m512i)a, w = _mm512_set1_epi64(b);
  const __m512i even = _mm512_mul_epu32(v, w), odd = _mm512_mul_epu32(_mm512_srli_epi64(v, 32), w);
  hi = (UVec)_mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
  lo = (UVec)_mm512_mask_shuffle_epi32(even, 0xAAAA, odd, _MM_PERM_CCAA);
}
#elif EPSBALL_LANES == 8
EPSBALL_INLINE void mul_hi_lo(UVec a, std::uint32_t b, UVec& hi, UVec& lo) {
  const __m256i v = (__m256i)a, w = _mm256_set1_epi64x(b);
  const __m256i even = _mm256_mul_epu32(v, w), odd = _mm256_mul_epu32(_mm256_srli_epi64(v, 32), w);
  hi = (UVec)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
  lo = (UVec)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}
#else
typedef std::uint64_t ULongVec __attribute__((vector_size(8 * EPSBALL_LANES)));
EPSBALL_INLINE void mul_hi_lo(UVec a, std::uint32_t b, UVec& hi, UVec& lo) {
  ULongVec p = __builtin_convertvector(a, ULongVec) * (std::uint64_t)b;
  hi = __builtin_convertvector(p >> 32, UVec);
  lo = a * b;
}
#endif

// Reductions in one fixed tree: the upper half is folded on the lower.
#if EPSBALL_LANES >= 8
EPSBALL_INLINE float sum(__m128 v) {
  v = _mm_add_ps(v, _mm_movehl_ps(v, v));
  return _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)));
}
EPSBALL_INLINE float sum(__m256 v) { return sum(_mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1))); }
#if EPSBALL_LANES == 16
EPSBALL_INLINE float sum(Vec v) { return sum(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1))); }
#endif
#else
EPSBALL_INLINE float sum(Vec v) { return (v[0] + v[2]) + (v[1] + v[3]); }
#endif
template <int S>
EPSBALL_INLINE Vec sums(Vec* v) {
  if constexpr (S == 0) {
    return v[0];
  } else {
#pragma GCC unroll 8
    for (int i = 0; i < S; ++i) {
      swap_halves<S>(v[i], v[i + S]);
      v[i] = v[i] + v[i + S];
    }
    return sums<S / 2>(v);
  }
}
// The sums of kLanes vectors, one in each lane, in that tree.
EPSBALL_INLINE Vec sums(Vec* v) { return sums<static_cast<int>(kLanes) / 2>(v); }
EPSBALL_INLINE float largest(Vec v) {
  float a[kLanes];
  store(a, v);
  float m = a[0];
  for (Index i = 1; i < kLanes; ++i) m = a[i] > m ? a[i] : m;
  return m;
}
EPSBALL_INLINE DVec to_double(Vec v) { return __builtin_convertvector(v, DVec); }
EPSBALL_INLINE Vec to_single(DVec v) { return __builtin_convertvector(v, Vec); }
EPSBALL_INLINE double largest(DVec v) {
  double most = v[0];
  for (int i = 1; i < kLanes; ++i) most = v[i] > most ? v[i] : most;
  return most;
}
EPSBALL_INLINE double sum(DVec v) {
  double s = 0;
  for (Index i = 0; i < kLanes; ++i) s += v[i];
  return s;
}

#endif

// The sums of Count vectors, lane after lane; f(first, count, sums) takes those of up to kLanes vectors.
template <int Count, class F>
EPSBALL_INLINE void for_sums(const Vec* v, F f) {
#pragma GCC unroll 16
  for (int first = 0; first < Count; first += kLanes) {
    const int count = Count - first < kLanes ? Count - first : static_cast<int>(kLanes);
    Vec group[kLanes] = {};
#pragma GCC unroll 16
    for (int i = 0; i < count; ++i) group[i] = v[first + i];
    f(first, count, sums(group));
  }
}

// Runs f(i, n) over [0, count): the main loop with n = kLanes, then one tail with what is left.
template <class F>
EPSBALL_INLINE void for_lanes(Index count, F f) {
  Index i = 0;
  for (; i + kLanes <= count; i += kLanes) f(i, kLanes);
  if (i < count) f(i, count - i);
}

}  // namespace epsball::EPSBALL_ISA
