// Element-wise activations: ReLU, leaky ReLU, ELU, sigmoid, tanh, softplus, GELU, quadratic.
#pragma once

#include "layers/layer.h"

namespace epsball {

// Whether no value falls where its input rises.
inline constexpr bool never_falls(ActivationSpec a) {
  switch (a.kind) {
    case Activation::leaky_relu:
    case Activation::elu:
      return a.parameter >= 0.0f;
    case Activation::gelu:
    case Activation::quadratic:
    case Activation::power:
      return false;
    default:
      return true;
  }
}

class ActivationLayer : public Layer {
 public:
  ActivationLayer(Index features, ActivationSpec spec) : Layer(features, features), spec_(spec) {}

  ActivationSpec activation() const override { return spec_; }
  bool is_elementwise() const override { return true; }
  Intervals intervals() const override { return never_falls(spec_) ? Intervals::monotone : Intervals::none; }
  // Only where no layer below can carry it: the identity, and the plan's epilogue does the rest.
  void forward(const Context&, const float*, const Stage&) const override;
  void backward(const Context&, const float*, const Stage&) const override;

 private:
  ActivationSpec spec_;
};

}  // namespace epsball
