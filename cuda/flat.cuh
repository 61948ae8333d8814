// Element-wise kernels over a plain array, or over rows that one thread each works on.
#pragma once

#include "launch.cuh"

namespace epsball::cuda {

inline constexpr unsigned kFlatThreads = 128;

inline dim3 flat_grid(Index count) { return dim3(static_cast<unsigned>(ceil_div<Index>(count, kFlatThreads))); }

// Runs f(i) for every i below count, each in one thread of the grid.
template <class F>
__device__ __forceinline__ void for_flat(Index count, F f) {
  for (Index i = Index{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += Index{gridDim.x} * blockDim.x) f(i);
}

}  // namespace epsball::cuda
