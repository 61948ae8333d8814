// Radial basis functions before their exponential: y_j = -sum_i (scale_ji (x_i - centre_ji))^2.
#pragma once

#include "layers/layer.h"

namespace epsball {

class Rbf : public Layer {
 public:
  // parameters: centre (out, in) and scale, (out, in) if `diagonal`, else (out).
  Rbf(Index in, Index out, bool diagonal);

  bool takes_epilogue() const override { return true; }
  Index multiply_adds() const override { return 2 * in * out; }
  bool shares() const override { return true; }
  Index packed_floats() const override;
  Index pack_parts(const Kernels&) const override;
  void pack(const Kernels&, const Values& values, float* packed, Index part) const override;
  void forward(const Context&, const float* packed, const Stage&) const override;
  void backward(const Context&, const float* packed, const Stage&) const override;
  Index gradient_parts(const Kernels&) const override;
  void gradient(const Kernels&, const GradientPart&) const override;

 private:
  bool diagonal() const;
  Index packed_matrix() const;
  RbfRows rows(const Stage&) const;
};

}  // namespace epsball
