// FMN: normalised gradient steps, projected onto a ball whose radius closes in on the boundary; L0, L1, L2 and
// L-infinity.
#pragma once

#include "attacks/attack.h"
#include "attacks/fmn_row.h"

namespace epsball {

struct FmnSettings : AttackSettings {
  int steps = 100;
  float step_size = 1.0f;  // falls to a hundredth
  float gamma = 0.05f;     // falls to a fiftieth
};

class FmnSlab : public SlabAttack {
 public:
  FmnSlab(const Target& target, const FmnSettings& settings, Worker& worker);

  static Index iterates(const FmnSettings& s) { return s.steps + 1; }
  static double passes(const FmnSettings& s) { return 2.0 * static_cast<double>(iterates(s)); }
  static Index floats_per_row(const Target& target) {
    return SlabAttack::floats_per_row(target) + padded(target.features());
  }

 private:
  void attack() override;
  void move();

  const FmnSettings s_;
  Rows gradient_;
  float *ball_, *farthest_, *slope_;
  FmnStep* step_;
};

}  // namespace epsball
