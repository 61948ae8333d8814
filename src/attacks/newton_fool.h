// NewtonFool: small steps that lower the label's probability, until the row is misclassified.
#pragma once

#include "attacks/attack.h"

namespace epsball {

struct NewtonFoolSettings : AttackSettings {
  int steps = 100;
  float eta = 0.01f;  // longest step, in lengths of x
};

class NewtonFoolSlab : public SlabAttack {
 public:
  NewtonFoolSlab(const Target& target, const NewtonFoolSettings& settings, Worker& worker);

  static Index iterates(const NewtonFoolSettings& s) { return s.steps + 1; }
  static double passes(const NewtonFoolSettings& s) { return 2.0 * static_cast<double>(iterates(s)); }
  static Index floats_per_row(const Target& target) {
    return SlabAttack::floats_per_row(target) + padded(target.features());
  }

 private:
  void attack() override;
  void move();

  const NewtonFoolSettings s_;
  Rows gradient_;
  float *length_, *slope_;
};

}  // namespace epsball
