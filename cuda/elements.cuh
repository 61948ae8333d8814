// Element-wise kernels over (rows, columns): a warp takes 32 neighbouring columns, a block eight rows of them.
#pragma once

#include "launch.cuh"

namespace epsball::cuda {

inline constexpr int kElementRows = 8;

inline dim3 elements_block() { return dim3(kWarpSize, kElementRows); }

inline dim3 elements_grid(Index rows, Index columns) {
  constexpr Index kMost = 65535;  // blocks in y; the kernel strides over what is left
  const Index across = ceil_div<Index>(columns, kWarpSize), down = ceil_div<Index>(rows, kElementRows);
  return dim3(static_cast<unsigned>(across < kMost ? across : kMost),
              static_cast<unsigned>(down < kMost ? down : kMost));
}

// Runs f(row, column) for every element of (rows, columns), each in one thread of the grid.
template <class F>
__device__ __forceinline__ void for_elements(Index rows, Index columns, F f) {
  for (Index r = Index{blockIdx.y} * blockDim.y + threadIdx.y; r < rows; r += Index{gridDim.y} * blockDim.y)
    for (Index i = Index{blockIdx.x} * blockDim.x + threadIdx.x; i < columns; i += Index{gridDim.x} * blockDim.x)
      f(r, i);
}

}  // namespace epsball::cuda
