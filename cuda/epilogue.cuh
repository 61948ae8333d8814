// What becomes of a finished sum, as src/kernels.h has it: bias, activation, derivative, store.
#pragma once

#include "launch.cuh"

#include "activation.h"
#include "kernels.h"

namespace epsball::cuda {

// Element `at` of a row of y, in column j of the product. A chain that underflows may be -0 or 0, depending on the
// zeros that went into it: adding 0 makes it 0.
__device__ __forceinline__ void finish(const Epilogue& e, float* y, Index ldy, Index row, Index at, Index j,
                                       float value) {
  value = value + 0.0f;
  if (e.bias) value = value + e.bias[j];
  if (e.pre_activation) e.pre_activation[row * ldy + at] = value;
  value = activate(e.activation, value);
  if (e.saved) value = value * derivative(e.derivative, e.saved[row * e.saved_ld + at]);
  y[row * ldy + at] = value;
}

}  // namespace epsball::cuda
