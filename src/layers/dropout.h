// Inverted dropout; nothing outside training.
#pragma once

#include "layers/layer.h"

namespace epsball {

// The plan drops; what is left for the layer is to hand the values on.
class Dropout : public Layer {
 public:
  Dropout(Index features, float p) : Layer(features, features), p_(p) {}

  float dropout() const override { return p_; }
  Intervals intervals() const override { return Intervals::affine; }
  void forward(const Context& context, const float*, const Stage& s) const override {
    context.kernels.copy_rows(context.stream, s.rows, in, s.x.data, s.x.ld, s.y.data, s.y.ld, nullptr, nullptr);
  }
  void backward(const Context& context, const float*, const Stage& s) const override { pass_gradient_on(context, s); }

 private:
  float p_;
};

}  // namespace epsball
