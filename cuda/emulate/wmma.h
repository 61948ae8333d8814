// Tensor-core fragments by the names of nvcuda::wmma: 16 x 16 x 8 for tf32, 16 x 16 x 16 for bfloat16, added up in
// float in the order of k. Which element a lane holds is nobody's business, here as on the device.
#pragma once

#include <type_traits>

#include "emulate.h"

namespace epsball::cuda {

// The upper half of a float.
struct __nv_bfloat16 {
  std::uint16_t bits;
};

// To nearest, ties to even; NaN stays NaN.
inline __nv_bfloat16 __float2bfloat16(float x) {
  const auto bits = emulate::of_bits<std::uint32_t>(emulate::to_bits(x));
  if (x != x) return {static_cast<std::uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
inline float __bfloat162float(__nv_bfloat16 x) {
  return emulate::of_bits<float>(static_cast<std::uint64_t>(x.bits) << 16);
}

namespace wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };
namespace precision {
struct tf32 {};
}  // namespace precision

// To 10 bits of mantissa, ties away from zero, as cvt.rna.tf32 does.
inline float __float_to_tf32(float x) {
  const auto bits = emulate::of_bits<std::uint32_t>(emulate::to_bits(x));
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return emulate::of_bits<float>(finite ? (bits + 0x1000u) & 0xffffe000u : bits);
}

template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
  static constexpr int kRows = std::is_same_v<Use, matrix_b> ? K : M;
  static constexpr int kColumns = std::is_same_v<Use, matrix_a> ? K : N;
  static constexpr int num_elements = kRows * kColumns / emulate::kWarp;
  static_assert(M == 16 && N == 16 &&
                K == (std::is_same_v<T, precision::tf32> ? 8
                      : std::is_same_v<T, float>         ? K
                                                         : 16));
  using Element = std::conditional_t<std::is_same_v<T, precision::tf32>, float, T>;

  Element x[num_elements];
};

namespace detail {

// Element e of this lane is number e * 32 + lane of the matrix, by rows.
inline int number(int e) { return e * emulate::kWarp + static_cast<int>(emulate::lane()); }

// What the hardware asks of a tile in memory, and g++ would not notice.
template <class T>
void check_tile(const T* at, unsigned ld, CallSite where) {
  if (reinterpret_cast<std::uintptr_t>(at) % 32 != 0)
    emulate::fail("a fragment's tile is not aligned to 32 bytes", where);
  if (ld * sizeof(T) % 16 != 0) emulate::fail("a fragment's rows are not a multiple of 16 bytes apart", where);
}

// What the tensor core sees of an operand: tf32 reads the upper 19 bits.
inline float operand(float x) { return emulate::of_bits<float>(emulate::to_bits(x) & 0xffffe000u); }
inline float operand(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class A, class B>
struct Operands {
  const A* a;
  const B* b;
};

}  // namespace detail

template <class Use, int M, int N, int K, class T, class Layout>
void fill_fragment(fragment<Use, M, N, K, T, Layout>& f, typename fragment<Use, M, N, K, T, Layout>::Element value) {
  for (auto& x : f.x) x = value;
}

template <class Use, int M, int N, int K, class T, class Layout>
void load_matrix_sync(fragment<Use, M, N, K, T, Layout>& f,
                      const typename fragment<Use, M, N, K, T, Layout>::Element* from, unsigned ld,
                      CallSite at = CallSite::current()) {
  using F = fragment<Use, M, N, K, T, Layout>;
  detail::check_tile(from, ld, at);
  emulate::all_lanes(0, at);
  for (int e = 0; e < F::num_elements; ++e) {
    const unsigned i = detail::number(e) / F::kColumns, j = detail::number(e) % F::kColumns;
    f.x[e] = std::is_same_v<Layout, row_major> ? from[i * ld + j] : from[j * ld + i];
  }
}

template <int M, int N, int K>
void load_matrix_sync(fragment<accumulator, M, N, K, float>& f, const float* from, unsigned ld, layout_t layout,
                      CallSite at = CallSite::current()) {
  detail::check_tile(from, ld, at);
  emulate::all_lanes(0, at);
  for (int e = 0; e < f.num_elements; ++e) {
    const unsigned i = detail::number(e) / N, j = detail::number(e) % N;
    f.x[e] = layout == mem_row_major ? from[i * ld + j] : from[j * ld + i];
  }
}

template <int M, int N, int K>
void store_matrix_sync(float* to, const fragment<accumulator, M, N, K, float>& f, unsigned ld, layout_t layout,
                       CallSite at = CallSite::current()) {
  detail::check_tile(to, ld, at);
  emulate::all_lanes(0, at);
  for (int e = 0; e < f.num_elements; ++e) {
    const unsigned i = detail::number(e) / N, j = detail::number(e) % N;
    to[layout == mem_row_major ? i * ld + j : j * ld + i] = f.x[e];
  }
}

// d = a b + c. Lanes read each other's registers, which no sanitizer should take for memory.
template <int M, int N, int K, class T, class LayoutA, class LayoutB>
__attribute__((no_sanitize_thread)) void mma_sync(fragment<accumulator, M, N, K, float>& d,
                                                  const fragment<matrix_a, M, N, K, T, LayoutA>& a,
                                                  const fragment<matrix_b, M, N, K, T, LayoutB>& b,
                                                  const fragment<accumulator, M, N, K, float>& c,
                                                  CallSite at = CallSite::current()) {
  using A = fragment<matrix_a, M, N, K, T, LayoutA>;
  using B = fragment<matrix_b, M, N, K, T, LayoutB>;
  const detail::Operands<A, B> mine = {&a, &b};
  const std::uint64_t* lanes = emulate::all_lanes(reinterpret_cast<std::uintptr_t>(&mine), at);
  const auto of = [&](int number) {
    return reinterpret_cast<const detail::Operands<A, B>*>(lanes[number % emulate::kWarp]);
  };
  for (int e = 0; e < d.num_elements; ++e) {
    const int i = detail::number(e) / N, j = detail::number(e) % N;
    float sum = c.x[e];
    for (int k = 0; k < K; ++k) {
      const int p = i * K + k, q = k * N + j;
      sum = std::fma(detail::operand(of(p)->a->x[p / emulate::kWarp]), detail::operand(of(q)->b->x[q / emulate::kWarp]),
                     sum);
    }
    d.x[e] = sum;
  }
  emulate::all_lanes(0, at);  // nobody changes an operand that others still read
}

}  // namespace wmma
}  // namespace epsball::cuda
