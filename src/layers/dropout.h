// Inverted dropout; nothing outside training.
#pragma once

#include "layers/layer.h"

namespace epsball {

class Dropout : public Layer {
 public:
  Dropout(Index features, float p) : Layer(features, features), p_(p) {}

  float dropout() const override { return p_; }
  void forward(const Context& context, const float*, Index rows, Rows x, Rows y, const Epilogue&) const override {
    finish_backward(context, rows, in, x, y, {});
  }
  void backward(const Context& context, const float*, Index rows, Rows dy, Rows dx,
                const Epilogue& end) const override {
    finish_backward(context, rows, in, dy, dx, end);
  }

 private:
  float p_;
};

}  // namespace epsball
