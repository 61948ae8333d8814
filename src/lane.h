// The operations src/formulas.h is written in, for one float; inside a table's objects also for its vectors
// (cpp/simd.h).
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define EPSBALL_HD __host__ __device__ __forceinline__
#define EPSBALL_DEVICE __device__ __forceinline__  // for what calls a block's functions there
#else
#define EPSBALL_HD inline __attribute__((always_inline))
#define EPSBALL_DEVICE EPSBALL_HD
#endif

#if defined(EPSBALL_ISA) && !defined(EPSBALL_LANE_IS_FLOAT)
#include "simd.h"  // a table's objects: vectors first, so that the templates of formulas.h find their operations
#elif !defined(EPSBALL_ISA)
#define EPSBALL_ISA generic  // src/ itself: a namespace of its own, so that no symbol is shared with a table
#endif

namespace epsball::EPSBALL_ISA {

EPSBALL_HD std::int32_t bits_of(float x) { return __builtin_bit_cast(std::int32_t, x); }
EPSBALL_HD float float_of_bits(std::int32_t x) { return __builtin_bit_cast(float, x); }
EPSBALL_HD float to_float(std::int32_t x) { return static_cast<float>(x); }
EPSBALL_HD float select(bool m, float a, float b) { return m ? a : b; }
EPSBALL_HD std::int32_t select(bool m, std::int32_t a, std::int32_t b) { return m ? a : b; }
// Both return b where an operand is NaN, on every table.
EPSBALL_HD float max(float a, float b) { return a > b ? a : b; }
EPSBALL_HD float min(float a, float b) { return a < b ? a : b; }
EPSBALL_HD float sqrt(float x) { return __builtin_sqrtf(x); }
// Fused where the table's hardware fuses; the scalar oracle of a baseline x86-64 rounds twice.
EPSBALL_HD float mul_add(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__) || defined(__CUDA_ARCH__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

}  // namespace epsball::EPSBALL_ISA
