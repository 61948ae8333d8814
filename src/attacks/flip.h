// One feature at a time to its end of the box, the one whose move changes the margin most: binary features that may
// only be added, and features that may only be deleted.
#pragma once

#include "attacks/attack.h"

namespace epsball {

struct FlipSettings : AttackSettings {
  int steps = 0;     // features
  bool rise = true;  // from the lower end of the box to the upper; false: to the lower
};

class FlipSlab : public SlabAttack {
 public:
  FlipSlab(const Target& target, const FlipSettings& settings, Worker& worker);

  static Index iterates(const FlipSettings& s) { return s.steps + 1; }
  static double passes(const FlipSettings& s) { return 2.0 * static_cast<double>(iterates(s)); }
  static Index floats_per_row(const Target& target) {
    return SlabAttack::floats_per_row(target) + padded(target.features());
  }

 private:
  void attack() override;

  const FlipSettings s_;
  Rows gradient_;
};

}  // namespace epsball
