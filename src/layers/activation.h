// Element-wise activations: ReLU, leaky ReLU, ELU, sigmoid, tanh, softplus, GELU, quadratic.
#pragma once

#include "layers/layer.h"

namespace epsball {

class ActivationLayer : public Layer {
 public:
  ActivationLayer(Index features, ActivationSpec spec) : Layer(features, features), spec_(spec) {}

  ActivationSpec activation() const override { return spec_; }
  bool is_elementwise() const override { return true; }
  // Only where no layer below can carry it: the identity, and the plan's epilogue does the rest.
  void forward(const Context&, const float*, const Stage&) const override;
  void backward(const Context&, const float*, const Stage&) const override;

 private:
  ActivationSpec spec_;
};

}  // namespace epsball
