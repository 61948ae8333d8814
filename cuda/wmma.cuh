// Tensor-core fragments, wmma::, and the numbers they hold: tf32 in 16 x 16 x 8 tiles, bfloat16 in 16 x 16 x 16.
//
// A kernel may not assume which lane holds which element. What load_matrix_sync and store_matrix_sync are given is
// aligned to 32 bytes, with rows a multiple of 16 bytes apart.
#pragma once

#include "launch.cuh"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <mma.h>
#else
#include "emulate/wmma.h"
#endif

namespace epsball::cuda {

#ifdef __CUDACC__
namespace wmma = nvcuda::wmma;
#endif

using bf16 = __nv_bfloat16;

__device__ __forceinline__ bf16 to_bf16(float x) { return __float2bfloat16(x); }
__device__ __forceinline__ float to_float(bf16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_tf32(float x) { return wmma::__float_to_tf32(x); }

}  // namespace epsball::cuda
