// (C, H, W) to C * H * W: rows are contiguous anyway, so nothing is computed.
#pragma once

#include "layers/layer.h"

namespace epsball {

class Flatten : public Layer {
 public:
  explicit Flatten(Index features) : Layer(features, features) {}

  bool is_identity() const override { return true; }
  Intervals intervals() const override { return Intervals::affine; }
  void forward(const Context&, const float*, const Stage&) const override {}
  void backward(const Context&, const float*, const Stage&) const override {}
};

}  // namespace epsball
