// Sums over k on tensor cores: a block makes kSide x kSide outputs, its warps 16 x 32 of them each, and what they are
// made of is rounded on its way to shared memory, kFragmentDepth steps of k at a time.
#pragma once

#include "tile.cuh"

namespace epsball::cuda {

inline constexpr int kSide = 64;
inline constexpr int kFragmentDepth = 32;

// What the factors are rounded to, and the depth of its fragments.
struct Tf32 {
  using Element = float;
  using Kind = wmma::precision::tf32;
  static constexpr int depth = 8;
  static __device__ __forceinline__ Element of(float x) { return to_tf32(x); }
};
struct Bf16 {
  using Element = bf16;
  using Kind = bf16;
  static constexpr int depth = 16;
  static __device__ __forceinline__ Element of(float x) { return to_bf16(x); }
};

// done(i, j) = the sum over p < k of a(i, p) b(p, j), rounded factors added up in float32 in the order of k whatever
// the block's rows are. load_a(i, p) and load_b(p, j) are asked for all of the block's rows and columns; past k both
// are zeros.
template <class P, class LoadA, class LoadB>
__device__ __forceinline__ void fragment_sums(Index k, bool a_along_k, LoadA load_a, LoadB load_b,
                                              float (&done)[kSide][kSide + 4]) {
  using E = typename P::Element;
  constexpr int kEach = kSide * kFragmentDepth / kTileThreads, kAcross = 2;
  constexpr int kPad = 16 / sizeof(E);  // rows start 16 bytes on in the banks, as far apart as load_matrix_sync asks
  constexpr int kLdA = kFragmentDepth + kPad, kLdB = kSide + kPad;
  SHARED_ARRAY(E, a, [kSide][kLdA]);
  SHARED_ARRAY(E, b, [kFragmentDepth][kLdB]);
  float next_a[kEach], next_b[kEach];
  const auto for_a = [&](auto f) {
    EPSBALL_UNROLL
    for (int n = 0; n < kEach; ++n) {
      const unsigned e = threadIdx.x + n * kTileThreads;
      a_along_k ? f(n, e / kFragmentDepth, e % kFragmentDepth) : f(n, e % kSide, e / kSide);
    }
  };
  const auto for_b = [&](auto f) {
    EPSBALL_UNROLL
    for (int n = 0; n < kEach; ++n) {
      const unsigned e = threadIdx.x + n * kTileThreads;
      f(n, e / kSide, e % kSide);
    }
  };
  const auto fetch = [&](Index from) {
    for_a([&](int n, int i, int p) { next_a[n] = from + p < k ? load_a(i, from + p) : 0.0f; });
    for_b([&](int n, int p, int j) { next_b[n] = from + p < k ? load_b(from + p, j) : 0.0f; });
  };
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int row = warp / kAcross * 16, column = warp % kAcross * 32;
  wmma::fragment<wmma::accumulator, 16, 16, P::depth, float> sum[2];
  for (auto& half : sum) wmma::fill_fragment(half, 0.0f);
  fetch(0);
  for (Index from = 0; from < k; from += kFragmentDepth) {
    for_a([&](int n, int i, int p) { a[i][p] = P::of(next_a[n]); });
    for_b([&](int n, int p, int j) { b[p][j] = P::of(next_b[n]); });
    barrier();
    fetch(from + kFragmentDepth);  // on its way while these are worked on
    EPSBALL_UNROLL
    for (int p = 0; p < kFragmentDepth; p += P::depth) {
      wmma::fragment<wmma::matrix_a, 16, 16, P::depth, typename P::Kind, wmma::row_major> fa;
      wmma::load_matrix_sync(fa, &a[row][p], kLdA);
      EPSBALL_UNROLL
      for (int h = 0; h < 2; ++h) {
        wmma::fragment<wmma::matrix_b, 16, 16, P::depth, typename P::Kind, wmma::row_major> fb;
        wmma::load_matrix_sync(fb, &b[p][column + 16 * h], kLdB);
        wmma::mma_sync(sum[h], fa, fb, sum[h]);
      }
    }
    barrier();  // the next steps are written there
  }
  EPSBALL_UNROLL
  for (int h = 0; h < 2; ++h)
    wmma::store_matrix_sync(&done[row][column + 16 * h], sum[h], kSide + 4, wmma::mem_row_major);
  barrier();
}

}  // namespace epsball::cuda
