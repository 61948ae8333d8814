// Log-likelihood of classes that are judged each by itself: logits z <= 0 are log confidences, p = exp(z).
#pragma once

#include "losses/cross_entropy.h"

namespace epsball::EPSBALL_ISA {

// loss = -sum_j (t_j log p_j + (1 - t_j) log(1 - p_j)), dz_j = (1 - t_j) p_j / (1 - p_j) - t_j. A
// confidence above 1 - 2^-24 in another class counts as that, for the loss would be infinite at its centre; a logit
// above 0 is no log confidence: NaN.
template <class V, LossRow<V> Row>
EPSBALL_HD V confidence(const Row& row, Index classes, bool gradient, bool unit, float scale) {
  const V one = splat<V>(1.0f);
  V loss = V{};
  for (Index j = 0; j < classes; ++j) {
    V t = row.target(j), z = row.z(j);
    V below = min(z, splat<V>(-5.96046448e-8f));
    V other = log(-expm1(below));
    V wrong = select(z > 0.0f, splat<V>(__builtin_nanf("")), V{});
    loss = loss - (t * z + (one - t) * other) + wrong;
    if (gradient) row.dz(j, ((one - t) / expm1(-below) - t + wrong) * (unit ? 1.0f : scale));
  }
  if (gradient && unit) scale_to_unit<V>(row, classes, scale);
  return loss;
}

}  // namespace epsball::EPSBALL_ISA
