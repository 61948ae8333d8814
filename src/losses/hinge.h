// Hinge loss of linear SVMs, one class against the rest: sum over j of max(0, 1 - s_j z_j), s = 1 for the label, else
// -1.
#pragma once

#include "losses/row.h"

namespace epsball::EPSBALL_ISA {

// One class: max(0, 1 - s z) with s = -1 or 1. At the kink, where 1 - s_j z_j = 0, the derivative is 0 as
// beyond it, so that a row that has reached its margin asks for nothing. Elsewhere it is -s_j: its gradient has unit
// size as it is.
template <class V, LossRow<V> Row>
EPSBALL_HD V hinge(const Row& row, Index classes, bool gradient, float scale) {
  V loss = V{};
  for (Index j = 0; j < classes; ++j) {
    V s = 2.0f * row.target(j) - 1.0f;
    V missing = splat<V>(1.0f) - s * row.z(j);
    loss = loss + max(missing, V{});
    if (gradient) row.dz(j, select(missing > 0.0f, s * -scale, V{}));
  }
  return loss;
}

}  // namespace epsball::EPSBALL_ISA
