// Margin loss of Carlini and Wagner: the best other logit minus the label's, positive once the row is misclassified.
#pragma once

#include "losses/row.h"

namespace epsball::EPSBALL_ISA {

// One class: the logits are (0, z). Its gradient has unit size as it is.
template <class V, LossRow<V> Row>
EPSBALL_HD V margin(const Row& row, Index classes, bool gradient, float scale) {
  if (classes == 1) {
    V away = splat<V>(1.0f) - 2.0f * row.target(0);
    if (gradient) row.dz(0, away * scale);
    return away * row.z(0);
  }
  V other = splat<V>(-__builtin_inff()), at = V{}, zy = V{};
  for (Index j = 0; j < classes; ++j) {
    V z = row.z(j);
    auto y = row.is_label(j);
    zy = select(y, z, zy);
    V candidate = select(y, splat<V>(-__builtin_inff()), z);
    at = select(candidate > other, splat<V>(static_cast<float>(j)), at);
    other = max(other, candidate);
  }
  if (gradient)
    for (Index j = 0; j < classes; ++j) {
      V up = select(at == static_cast<float>(j), splat<V>(scale), V{});
      row.dz(j, select(row.is_label(j), splat<V>(-scale), up));
    }
  return other - zy;
}

}  // namespace epsball::EPSBALL_ISA
