// The loop behind FGSM, R+FGSM, BIM, least-likely-class and PGD: start, step, keep the best point, leave when solved.
#pragma once

#include "attacks/attack.h"

namespace epsball {

struct PgdSettings : AttackSettings {
  int steps = 40;
  int restarts = 1;
  bool random_start = true;
  Start start = Start::ball;
};

class PgdSlab : public SlabAttack {
 public:
  PgdSlab(const Target& target, const PgdSettings& settings, Worker& worker);

  // Points a row is evaluated at, and passes through the model, forward and backward.
  static Index iterates(const PgdSettings& s) { return static_cast<Index>(s.restarts) * (s.steps + 1); }
  static double passes(const PgdSettings& s) { return 2.0 * static_cast<double>(iterates(s)); }

 private:
  void attack() override;
  void begin(int restart);
  void iterate(int restart);
  void move();

  const PgdSettings s_;
  Rows gradient_;  // null where the model's backward pass ends in the step
};

}  // namespace epsball
