// DDN: the direction of the gradient, and a sphere around x whose radius follows what the model says.
#pragma once

#include "attacks/attack.h"

namespace epsball {

struct DdnSettings : AttackSettings {
  int steps = 300;
  float gamma = 0.05f;
  float initial_radius = 1.0f;
};

class DdnSlab : public SlabAttack {
 public:
  DdnSlab(const Target& target, const DdnSettings& settings, Worker& worker);

  static Index iterates(const DdnSettings& s) { return s.steps + 1; }
  static double passes(const DdnSettings& s) { return 2.0 * static_cast<double>(iterates(s)); }
  static Index floats_per_row(const Target& target) {
    return SlabAttack::floats_per_row(target) + padded(target.features());
  }

 private:
  void attack() override;
  void move();

  const DdnSettings s_;
  Rows gradient_;
  float *sphere_, *farthest_, *scale_, *rest_, *size_;
};

}  // namespace epsball
