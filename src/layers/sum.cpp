// The sum, then the activation that it carries.
#include "layers/sum.h"

namespace epsball {

void Sum::forward(const Context& context, const float*, const Stage& s) const {
  float* const pre = s.end.pre_activation;
  CombineRows sum;
  sum.rows = s.rows;
  sum.features = s.features;
  sum.count = 2;
  sum.terms[0] = {s.x.data, s.x.ld, nullptr, 1.0f};
  sum.terms[1] = {s.other.data, s.other.ld, nullptr, 1.0f};
  sum.out = pre ? pre : s.y.data;
  sum.ld = s.y.ld;
  context.kernels.combine(context.stream, sum);
  if (s.end.activation.kind != Activation::identity)
    context.kernels.activation_forward(context.stream, s.end.activation, s.rows, s.features, sum.out, s.y.ld, s.y.data,
                                       s.y.ld);
}

}  // namespace epsball
