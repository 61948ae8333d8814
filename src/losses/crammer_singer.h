// Multi-class hinge loss of Crammer and Singer: max(0, 1 + the best other logit - the label's).
#pragma once

#include "losses/margin.h"

namespace epsball::EPSBALL_ISA {

// One class: the logits are (0, z), which makes it the hinge loss. Its derivatives are those of the margin,
// the first of equal others counting, and 0 at the kink as beyond it.
template <class V, LossRow<V> Row>
EPSBALL_HD V crammer_singer(const Row& row, Index classes, bool gradient, float scale) {
  V missing = margin<V>(row, classes, gradient, scale) + 1.0f;
  if (gradient)
    for (Index j = 0; j < classes; ++j) row.dz(j, select(missing > 0.0f, row.get_dz(j), V{}));
  return max(missing, V{});
}

}  // namespace epsball::EPSBALL_ISA
