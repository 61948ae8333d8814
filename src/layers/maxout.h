// Maxout: the maximum over the pieces of each unit; the pieces are the outputs of the layer below.
#pragma once

#include "layers/layer.h"

namespace epsball {

class Maxout : public Layer {
 public:
  // `in` values, piece after piece of in / pieces units each.
  Maxout(Index in, Index pieces) : Layer(in, in / pieces), pieces_(pieces) {}

  Intervals intervals() const override { return Intervals::monotone; }
  void forward(const Context&, const float*, const Stage&) const override;
  void backward(const Context&, const float*, const Stage&) const override;

 private:
  MaxoutRows rows(const Stage&) const;

  Index pieces_;
};

}  // namespace epsball
