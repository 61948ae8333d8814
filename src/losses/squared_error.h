// Squared error of the logits against one-hot or given targets; a logistic model's labels stand for -1 and 1.
#pragma once

#include "losses/cross_entropy.h"

namespace epsball::EPSBALL_ISA {

template <class V, LossRow<V> Row>
EPSBALL_HD V squared_error(const Row& row, Index classes, bool gradient, bool unit, float scale) {
  V loss = V{};
  for (Index j = 0; j < classes; ++j) {
    V t = row.target(j);
    if (classes == 1 && row.hard()) t = 2.0f * t - 1.0f;
    V d = row.z(j) - t;
    loss = mul_add(d, d, loss);
    if (gradient) row.dz(j, d * (unit ? 1.0f : 2.0f * scale));
  }
  if (gradient && unit) scale_to_unit<V>(row, classes, scale);
  return loss;
}

}  // namespace epsball::EPSBALL_ISA
