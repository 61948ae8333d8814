// DeepFool: straight to the nearest of the planes that the model looks like, until the row is misclassified.
#pragma once

#include "attacks/planes.h"

namespace epsball {

struct DeepFoolSettings : AttackSettings {
  int steps = 50;
  float overshoot = 0.02f;
  Index candidates = 10;  // rival classes looked at, those with the highest logits at x; 0: all
};

class DeepFoolSlab : public PlaneAttack {
 public:
  DeepFoolSlab(const Target& target, const DeepFoolSettings& settings, Worker& worker);

  static Index iterates(const DeepFoolSettings& s) { return s.steps + 1; }
  static double passes(const DeepFoolSettings& s) { return 2.0 * static_cast<double>(iterates(s)); }

 private:
  void attack() override;
  void move();

  const DeepFoolSettings s_;
  Rows total_;  // x0 and all steps so far, before the overshoot
};

}  // namespace epsball
