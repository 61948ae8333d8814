// Element-wise activations and their derivatives for a lane type V: float or a SIMD vector, as in formulas.h; used by
// activation.cpp and as epilogue of products.
#pragma once

#include "formulas.h"
#include "kernels.h"

namespace epsball::EPSBALL_ISA {

// x^n for n = 0, 1, 2, ...
template <class V>
EPSBALL_HD V power(V x, float n) {
  V y = splat<V>(1.0f);
  for (float i = 0.0f; i < n; ++i) y = y * x;
  return y;
}

template <class V>
EPSBALL_HD V activate(ActivationSpec spec, V x) {
  switch (spec.kind) {
    case Activation::identity:
      return x;
    case Activation::relu:
      return max(V{}, x);  // this order keeps a NaN
    case Activation::leaky_relu:
      return select(x < 0.0f, x * spec.parameter, x);
    case Activation::elu:
      return select(x < 0.0f, expm1(x) * spec.parameter, x);
    case Activation::sigmoid:
      return sigmoid(x);
    case Activation::tanh:
      return tanh(x);
    case Activation::softplus:
      return softplus(x);
    case Activation::gelu:
      return x * normal_cdf(x);
    case Activation::quadratic:
      return x * x;
    case Activation::exp:
      return exp(x);
    case Activation::power:
      return power(x, spec.parameter);
  }
  return x;
}

// f'(.) from the saved tensor: the output y, or the input where derivative_needs_input. At the kink of ReLU: 0.
template <class V>
EPSBALL_HD V derivative(ActivationSpec spec, V s) {
  const V one = splat<V>(1.0f);
  switch (spec.kind) {
    case Activation::identity:
      return one;
    case Activation::relu:
      return select(s > 0.0f, one, V{});
    case Activation::leaky_relu:
      return select(s > 0.0f, one, splat<V>(spec.parameter));
    case Activation::elu:
      return select(s > 0.0f, one, s + spec.parameter);
    case Activation::sigmoid:
      return s * (one - s);
    case Activation::tanh:
      return one - s * s;
    case Activation::softplus:
      return -expm1(-s);  // sigmoid(x) from y = softplus(x)
    case Activation::gelu:
      return mul_add(s * 0.398942280f, exp(s * s * -0.5f), normal_cdf(s));
    case Activation::quadratic:
      return s + s;
    case Activation::exp:
      return s;
    case Activation::power:
      return power(s, spec.parameter - 1.0f) * spec.parameter;
  }
  return one;
}

}  // namespace epsball::EPSBALL_ISA
