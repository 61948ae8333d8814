// A model of linear layers as the few pointers that a kernel which computes all of it needs.
#pragma once

#include "kernels.h"

namespace epsball {

// A linear layer with the activation it carries, its weights packed by Kernels::pack.
struct DenseLayer {
  Index in = 0, out = 0;
  const float* forward = nullptr;   // (in, out), as gemm wants them; null: dots with `backward`
  const float* backward = nullptr;  // (out, in)
  const float* bias = nullptr;      // (out), or null
  ActivationSpec activation;        // whose derivative follows from its output
};

struct DenseModel {
  static constexpr int kMost = 8;
  int count = 0;
  DenseLayer layer[kMost];

  // One layer of few outputs and no activation (see Kernels::linear_step).
  bool takes_linear_step() const {
    return count == 1 && !layer[0].forward && layer[0].activation.kind == Activation::identity;
  }
};

}  // namespace epsball
