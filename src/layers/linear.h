// y = x W^T + b.
#pragma once

#include "layers/layer.h"

namespace epsball {

class Linear : public Layer {
 public:
  // parameters: weight (out, in) and, if `bias`, bias (out); torch's layout.
  Linear(Index in, Index out, bool bias);

  bool takes_epilogue() const override { return true; }
  bool fuses_step() const override { return true; }
  Intervals intervals() const override { return Intervals::affine; }
  std::unique_ptr<Layer> companion() const override { return std::make_unique<Linear>(in, out, false); }
  std::unique_ptr<Layer> copy_with_bias() const override { return std::make_unique<Linear>(in, out, true); }
  std::unique_ptr<Layer> copy_on_images(Image) const override;
  Index multiply_adds() const override { return in * out; }
  bool dense(const float* packed, DenseLayer&) const override;
  bool shares() const override { return true; }
  Index packed_floats() const override;
  Index pack_parts(const Kernels&) const override;
  void pack(const Kernels&, const Values& values, float* packed, Index part) const override;
  void forward(const Context&, const float* packed, const Stage&) const override;
  void backward(const Context&, const float* packed, const Stage&) const override;
  Index gradient_parts(const Kernels&) const override;
  Index gradient_scratch(const Kernels&, Index rows) const override;
  void gradient(const Kernels&, const GradientPart&) const override;

 private:
  bool narrow() const;
  Index packed_bias() const;
  Index packed_transposed() const;
};

}  // namespace epsball
