// An activation that stands alone, at the bottom of a model or on top of another activation.
#include "layers/activation.h"

namespace epsball {

void ActivationLayer::forward(const Context& context, const float*, const Stage& s) const {
  const Kernels& k = context.kernels;
  float* const pre = s.end.pre_activation;
  if (pre) k.copy_rows(context.stream, s.rows, s.features, s.x.data, s.x.ld, pre, s.y.ld, nullptr, nullptr);
  k.activation_forward(context.stream, s.end.activation, s.rows, s.features, s.x.data, s.x.ld, s.y.data, s.y.ld);
}

void ActivationLayer::backward(const Context& context, const float*, const Stage& s) const {
  pass_gradient_on(context, s);
}

}  // namespace epsball
