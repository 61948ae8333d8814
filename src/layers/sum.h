// The sum of two values, where a residual block ends (He et al. 2016, arXiv 1512.03385).
#pragma once

#include "layers/layer.h"

namespace epsball {

class Sum : public Layer {
 public:
  explicit Sum(Index features) : Layer(features, features) {}

  bool takes_epilogue() const override { return true; }
  bool is_elementwise() const override { return true; }
  Intervals intervals() const override { return Intervals::affine; }
  void forward(const Context&, const float*, const Stage&) const override;
  // The same for either input.
  void backward(const Context& context, const float*, const Stage& s) const override { pass_gradient_on(context, s); }
};

}  // namespace epsball
