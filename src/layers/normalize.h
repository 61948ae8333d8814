// (x - mean) / std with fixed numbers per feature, so that bounds and eps stay in the units of the input.
#pragma once

#include "layers/layer.h"

namespace epsball {

class Normalize : public Layer {
 public:
  // One mean and standard deviation per channel of images, or per feature where pixels is 1.
  Normalize(const std::vector<float>& mean, const std::vector<float>& std, Index pixels);

  Reach reach() const override { return Reach::pixel; }
  Intervals intervals() const override { return Intervals::affine; }
  std::unique_ptr<Layer> companion() const override;
  Index packed_floats() const override { return 2 * padded(in); }
  void pack_constants(const Kernels&, float* packed) const override;
  void forward(const Context&, const float*, const Stage&) const override;
  void backward(const Context&, const float*, const Stage&) const override;

 private:
  Normalize(Index features, std::vector<float> scale);  // without a mean

  std::vector<float> mean_, scale_;  // per feature
};

}  // namespace epsball
