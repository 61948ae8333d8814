// JSMA's choice: the pair of features that raises the target's logit and lowers the others' most.
#pragma once

#include "array.h"
#include "formulas.h"

namespace epsball {

// A feature may be chosen while it has room to move. The pair (p, q) maximises -a b, with a = target(p) + target(q) > 0
// and b = others(p) + others(q) < 0 (both signs the other way where features decrease), the first pair of equals; both
// move by theta and are fixed, unless they may move again.
struct SaliencyRows {
  Index features = 0, ld = 0;
  const float* target = nullptr;  // gradient of the target's logit
  const float* others = nullptr;  // of the sum of the others
  bool increase = true;
  float theta = 1.0f;
  float* x = nullptr;
  float* lo = nullptr;
  float* hi = nullptr;
  std::uint8_t* moving = nullptr;  // (rows) set to 1 where any gradient element is not 0
  std::uint8_t* done = nullptr;    // (rows) set to 1 where there is no pair, unless all gradients were 0
  bool again = false;
};

namespace EPSBALL_ISA {

// The map takes both features to move by theta: one that is nearly at the end of the box would be spent for nothing.
template <class V>
EPSBALL_HD auto has_room(const SaliencyRows& a, V x, V lo, V hi) {
  return (a.increase ? hi - x : x - lo) > 0.1f * min(hi - lo, splat<V>(a.theta));
}

}  // namespace EPSBALL_ISA

}  // namespace epsball
