// The direction of virtual adversarial training as an attack: where the prediction changes fastest, whatever the label.
#pragma once

#include "attacks/attack.h"
#include "training/virtual_adversarial.h"

namespace epsball {

struct VirtualAdversarialSettings : AttackSettings {
  int steps = 1;  // of the power iteration
  float xi = 1e-2f;
};

class VirtualAdversarialSlab : public SlabAttack {
 public:
  VirtualAdversarialSlab(const Target& target, const VirtualAdversarialSettings& settings, Worker& worker);

  static Index iterates(const VirtualAdversarialSettings&) { return 2; }
  static double passes(const VirtualAdversarialSettings& s) { return 2.0 * s.steps + 2.0; }
  static Index floats_per_row(const Target& target) {
    return SlabAttack::floats_per_row(target) + 7 * padded(target.features()) + target.floats_per_row();
  }

 private:
  void attack() override;

  const VirtualAdversarialSettings s_;
  VirtualAdversarial direction_;
};

}  // namespace epsball
