// What DeepFool and FAB share: the model around a point as planes, one for every rival class.
#pragma once

#include "attacks/attack.h"

namespace epsball {

class PlaneAttack : public SlabAttack {
 public:
  static Index floats_per_row(const Target& target) {
    return SlabAttack::floats_per_row(target) + 2 * padded(target.features()) + target.classes();
  }
  // The rivals there are, or as many of them as are wanted (0: all).
  static Index rivals_of(const Target& target, Index wanted);

 protected:
  PlaneAttack(const Target& target, const AttackSettings& settings, Worker& worker, Index rivals);

  // The classes with the highest logits but the label, of the point evaluated last.
  void rank_rivals();
  // The nearest of the planes of rivals [first, first + count) of the point evaluated last: its normal_, value_ and how
  // far it is away_, and `beyond`.
  void find_plane(Index first, Index count, float beyond = 0.0f);

  const Index rivals_count_;
  std::int32_t* ranked_;  // (rows, rivals_count_)
  Rows gradient_, normal_;
  float *slope_, *value_, *away_;
};

}  // namespace epsball
