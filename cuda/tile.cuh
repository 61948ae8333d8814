// Sums over k by tiles: a block makes height x width outputs, every thread some of them in registers, and what they are
// made of comes through shared memory, kTileDepth steps of k at a time.
#pragma once

#include "launch.cuh"

#ifdef __CUDACC__
#define EPSBALL_UNROLL _Pragma("unroll")
#else
#define EPSBALL_UNROLL _Pragma("GCC unroll 16")
#endif

namespace epsball::cuda {

inline constexpr int kTileThreads = 256;
inline constexpr int kTileDepth = 16;

// How far apart the rows of a packed matrix (k, n) lie.
__host__ __device__ constexpr Index packed_ld(Index n) { return ceil_div(n, kRowPad) * kRowPad; }

// Rows x Columns neighbouring outputs per thread, Across threads side by side.
template <int Rows, int Columns, int Across>
struct Tile {
  static constexpr int rows = Rows, columns = Columns;
  static constexpr int height = Rows * (kTileThreads / Across), width = Columns * Across;

  // This thread's first row and column.
  static __device__ __forceinline__ int row() { return static_cast<int>(threadIdx.x) / Across * Rows; }
  static __device__ __forceinline__ int column() { return static_cast<int>(threadIdx.x) % Across * Columns; }
};
using WideTile = Tile<4, 4, 16>;  // 64 x 64
using SlimTile = Tile<4, 2, 8>;   // 128 x 16
using ThinTile = Tile<4, 1, 4>;   // 256 x 4

// sum(i, j) = op(op(op(0, a(i, 0), b(0, j)), a(i, 1), b(1, j)), ...) over p < k: one chain per output, whatever the
// shape. `sum` may hold what the chain starts with. load_a(i, p) and load_b(p, j) are asked for all of the tile's rows
// and columns, neighbours along k (or rows) by neighbouring threads; past k both are zeros. op(sum, a, b, r, c) is told
// which of the thread's outputs it works on.
template <class Shape, class LoadA, class LoadB, class Op>
__device__ __forceinline__ void tile_chains(Index k, bool a_along_k, LoadA load_a, LoadB load_b, Op op,
                                            float (&sum)[Shape::rows][Shape::columns]) {
  using B = decltype(load_b(Index{}, 0));
  constexpr int kOfA = kTileDepth * Shape::height, kOfB = kTileDepth * Shape::width;
  constexpr int kEachA = ceil_div(kOfA, kTileThreads), kEachB = ceil_div(kOfB, kTileThreads);
  SHARED_ARRAY(float, a, [kTileDepth][Shape::height + 4]);  // 4: fewer threads write to one bank
  SHARED_ARRAY(B, b, [kTileDepth][Shape::width]);
  float next_a[kEachA];
  B next_b[kEachB] = {};
  const int row = Shape::row(), column = Shape::column();
  const auto for_a = [&](auto f) {
    EPSBALL_UNROLL
    for (int n = 0; n < kEachA; ++n) {
      const unsigned e = threadIdx.x + n * kTileThreads;
      a_along_k ? f(n, e / kTileDepth, e % kTileDepth) : f(n, e % Shape::height, e / Shape::height);
    }
  };
  const auto for_b = [&](auto f) {
    EPSBALL_UNROLL
    for (int n = 0; n < kEachB; ++n) {
      const unsigned e = threadIdx.x + n * kTileThreads;
      if (e < kOfB) f(n, e / Shape::width, e % Shape::width);
    }
  };
  const auto fetch = [&](Index from) {
    for_a([&](int n, int i, int p) { next_a[n] = from + p < k ? load_a(i, from + p) : 0.0f; });
    for_b([&](int n, int p, int j) { next_b[n] = from + p < k ? load_b(from + p, j) : B{}; });
  };
  fetch(0);
  for (Index from = 0; from < k; from += kTileDepth) {
    for_a([&](int n, int i, int p) { a[p][i] = next_a[n]; });
    for_b([&](int n, int p, int j) { b[p][j] = next_b[n]; });
    barrier();
    fetch(from + kTileDepth);  // on its way while these are worked on
    EPSBALL_UNROLL
    for (int p = 0; p < kTileDepth; ++p) {
      float av[Shape::rows];
      B bv[Shape::columns];
      EPSBALL_UNROLL
      for (int r = 0; r < Shape::rows; ++r) av[r] = a[p][row + r];
      EPSBALL_UNROLL
      for (int c = 0; c < Shape::columns; ++c) bv[c] = b[p][column + c];
      EPSBALL_UNROLL
      for (int r = 0; r < Shape::rows; ++r) EPSBALL_UNROLL
      for (int c = 0; c < Shape::columns; ++c) sum[r][c] = op(sum[r][c], av[r], bv[c], r, c);
    }
    barrier();  // the next steps are written there
  }
}

// Hands the tile over to threads in another order: done[i][j] is there for all of them.
template <class Shape>
__device__ __forceinline__ void share_tile(const float (&sum)[Shape::rows][Shape::columns],
                                           float (&done)[Shape::height][Shape::width]) {
  EPSBALL_UNROLL
  for (int r = 0; r < Shape::rows; ++r) EPSBALL_UNROLL
  for (int c = 0; c < Shape::columns; ++c) done[Shape::row() + r][Shape::column() + c] = sum[r][c];
  barrier();
}

}  // namespace epsball::cuda
