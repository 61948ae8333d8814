// A row that a whole block works on: its features are dealt out to the threads, its sums have one fixed order.
#pragma once

#include "formulas.h"
#include "kernels.h"
#include "launch.cuh"

namespace epsball::cuda {

inline constexpr unsigned kRowThreads = 128;

inline dim3 rows_grid(Index rows) { return dim3(static_cast<unsigned>(rows)); }

// Runs f(row) in all threads of the block that has the row.
template <class F>
__device__ __forceinline__ void for_rows(Index rows, F f) {
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) f(row);
}

// Runs f(i) for every feature; thread t has t, t + blockDim.x, ...
template <class F>
__device__ __forceinline__ void for_features(Index features, F f) {
  for (Index i = threadIdx.x; i < features; i += blockDim.x) f(i);
}

// The sum of f(i) over the features, the same bits in every thread.
template <class F>
__device__ __forceinline__ double row_sum(Index features, F f) {
  double sum = 0.0;
  for_features(features, [&](Index i) { sum += f(i); });
  return block_sum(sum);
}

// The largest f(i), 0 if none is larger; NaN does not count.
template <class T, class F>
__device__ __forceinline__ T row_max(Index features, F f) {
  T top = T{};
  for_features(features, [&](Index i) {
    const T v = f(i);
    top = v > top ? v : top;
  });
  return block_max(top);
}

// The smallest non-negative float t with enough(t), which holds from some t up to `top` on: a bisection over the
// float's bits, so the answer is exact after 31 looks.
template <class Enough>
__device__ __forceinline__ float first_float(float top, Enough enough) {
  std::int32_t below = -1, at = bits_of(top);
  while (at - below > 1) {
    const std::int32_t middle = below + (at - below) / 2;
    (enough(float_of_bits(middle)) ? at : below) = middle;
  }
  return float_of_bits(at);
}

// How many leading features fit: the largest m <= features with fits(m), which holds for 0 and up to that m.
template <class Fits>
__device__ __forceinline__ Index leading(Index features, Fits fits) {
  Index most = 0, beyond = features + 1;
  while (beyond - most > 1) {
    const Index middle = most + (beyond - most) / 2;
    (fits(middle) ? most : beyond) = middle;
  }
  return most;
}

// The norm of a row whose features are length(i) >= 0 long.
template <class F>
__device__ __forceinline__ double row_norm(Norm norm, Index features, F length) {
  if (norm == Norm::linf) return row_max<double>(features, length);
  if (norm == Norm::l2) return ::sqrt(row_sum(features, [&](Index i) { return length(i) * length(i); }));
  if (norm == Norm::l1) return row_sum(features, length);
  return row_sum(features, [&](Index i) { return length(i) > 0.0 ? 1.0 : 0.0; });
}

}  // namespace epsball::cuda
