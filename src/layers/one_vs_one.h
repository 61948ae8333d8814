// Scores of classes from the decisions of one-versus-one classifiers: votes, then confidences.
#pragma once

#include "layers/layer.h"

namespace epsball {

class OneVsOne : public Layer {
 public:
  explicit OneVsOne(Index classes) : Layer(classes * (classes - 1) / 2, classes) {}

  void forward(const Context&, const float*, const Stage&) const override;
  void backward(const Context&, const float*, const Stage&) const override;
};

}  // namespace epsball
