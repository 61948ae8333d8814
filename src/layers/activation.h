// Element-wise activations: ReLU, leaky ReLU, ELU, sigmoid, tanh, softplus, GELU, quadratic.
#pragma once

#include "layers/layer.h"

namespace epsball {

class ActivationLayer : public Layer {
 public:
  ActivationLayer(Index features, ActivationSpec spec) : Layer(features, features), spec_(spec) {}

  ActivationSpec activation() const override { return spec_; }
  // Only where no layer below can carry it: the identity, and the plan's epilogue does the rest.
  void forward(const Context& context, const float*, Index rows, Rows x, Rows y, const Epilogue& end) const override;
  void backward(const Context& context, const float*, Index rows, Rows dy, Rows dx,
                const Epilogue& end) const override {
    finish_backward(context, rows, in, dy, dx, end);
  }

 private:
  ActivationSpec spec_;
};

}  // namespace epsball
