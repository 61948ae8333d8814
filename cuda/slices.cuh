// Sums down columns: a block takes 32 neighbouring columns, each of its warps a slice of what is added up.
#pragma once

#include "launch.cuh"

namespace epsball::cuda {

inline constexpr int kSlices = 32;

inline dim3 slices_block() { return dim3(kWarpSize, kSlices); }

// Runs f(i) for every kSlices-th i < count, this thread's slice of them, in order.
template <class F>
__device__ __forceinline__ void for_slice(Index count, F f) {
  for (Index i = threadIdx.y; i < count; i += kSlices) f(i);
}

// The sum of what the slices have of this thread's column, in order; the same in all of them.
template <class T>
__device__ __forceinline__ T sum_slices(T mine) {
  SHARED_ARRAY(T, parts, [kSlices][kWarpSize]);
  parts[threadIdx.y][threadIdx.x] = mine;
  barrier();
  T sum = parts[0][threadIdx.x];
  for (int s = 1; s < kSlices; ++s) sum = sum + parts[s][threadIdx.x];
  barrier();  // the next sum is written there
  return sum;
}

}  // namespace epsball::cuda
