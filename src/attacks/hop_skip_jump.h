// HopSkipJump: the direction of the boundary from random samples' labels, leaps along it, and cuts back to the
// boundary.
#pragma once

#include "attacks/decision.h"

namespace epsball {

struct HopSkipJumpSettings : DecisionSettings {
  int steps = 64;
  int init_evals = 100;      // of the first step; of step t sqrt(t) times as many
  int max_evals = 10000;     // of any step
  float first_delta = 0.0f;  // how far the first step's samples lie from the point; 0: as those of later ones
};

class HopSkipJumpSlab : public DecisionAttack {
 public:
  HopSkipJumpSlab(const Target& target, const HopSkipJumpSettings& settings, Worker& worker);

  static Index iterates(const HopSkipJumpSettings& s) { return s.steps + 1; }
  static double passes(const HopSkipJumpSettings& s) { return static_cast<double>(s.init_evals) * (s.steps + 1); }

 private:
  void attack() override;
  void estimate(int step);
  void draw_samples(int step, Index blocks);
  void count_samples(Index blocks);
  void leap(int step);

  const HopSkipJumpSettings s_;
  Rows direction_, total_;  // sums of the samples' signed displacements, and of the displacements
  Rows samples_;
  float *sign_, *asked_, *sum_, *count_, *weight_, *size_;
  std::uint8_t* leaping_;
};

}  // namespace epsball
