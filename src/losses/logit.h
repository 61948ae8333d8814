// The label's logit, reversed: what a targeted attack climbs without end (Zhao et al. 2021). Where logits are
// logarithms of probabilities, it is the cross-entropy.
#pragma once

#include "losses/margin.h"

namespace epsball::EPSBALL_ISA {

// One class: the margin. Its gradient has unit size as it is.
template <class V, LossRow<V> Row>
EPSBALL_HD V logit(const Row& row, Index classes, bool gradient, float scale) {
  if (classes == 1) return margin<V>(row, classes, gradient, scale);
  V loss = V{};
  for (Index j = 0; j < classes; ++j) {
    loss = select(row.is_label(j), -row.z(j), loss);
    if (gradient) row.dz(j, select(row.is_label(j), splat<V>(-scale), V{}));
  }
  return loss;
}

}  // namespace epsball::EPSBALL_ISA
