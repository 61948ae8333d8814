// The nearest misclassified point of a linear model: x projected onto the boundary of every rival class.
#pragma once

#include "attacks/planes.h"

namespace epsball {

class LinearMinimumSlab : public PlaneAttack {
 public:
  // How far beyond the plane a point is aimed at, as a share of the logit difference at x: the least that float32
  // logits let succeed counts.
  static constexpr float kBeyond[] = {1e-7f, 1e-6f, 1e-5f, 1e-4f, 1e-3f};
  static constexpr Index kTries = 5;

  LinearMinimumSlab(const Target& target, const AttackSettings& settings, Worker& worker)
      : PlaneAttack(target, settings, worker, rivals_of(target, 0)), norm_(settings.norm) {}

  static Index iterates(const AttackSettings&) { return 1; }
  static double passes(const AttackSettings&) { return 2.0 * static_cast<double>(kTries); }

 private:
  void attack() override;
  void project(Index rival);

  const Norm norm_;
};

}  // namespace epsball
