// The sum, then the activation that it carries.
#include "layers/sum.h"

#include "combine.h"

namespace epsball {

void Sum::forward(const Context& context, const float*, const Stage& s) const {
  float* const pre = s.end.pre_activation;
  const Rows sum{pre ? pre : s.y.data, s.y.ld};
  context.kernels.combine(context.stream,
                          sum_of({{s.x.data, s.x.ld}, {s.other.data, s.other.ld}}, s.rows, s.features, sum));
  if (s.end.activation.kind != Activation::identity)
    context.kernels.activation_forward(context.stream, s.end.activation, s.rows, s.features, sum.data, sum.ld, s.y.data,
                                       s.y.ld);
}

}  // namespace epsball
