// The loop behind FGSM, R+FGSM, BIM, least-likely-class and PGD: start, step, keep the best point, leave when solved.
#pragma once

#include "attacks/attack.h"

namespace epsball {

struct PgdSettings : AttackSettings {
  int steps = 40;
  int restarts = 1;
  bool random_start = true;
  Start start = Start::ball;
  bool adam = false;           // steps follow Adam's averages of the gradient
  float decay = 0.0f;          // beta1
  float decay_squares = 0.0f;  // beta2
  int samples = 0;  // pairs of points on either side of x that estimate the gradient; 0: the model's own is taken
  Noise noise = Noise::signs;  // the samples' directions
  float delta = 0.01f;         // how far they are from x
  int top = 0;                 // L1: number of features that share a step; 0: the steepest is filled first
};

class PgdSlab : public SlabAttack {
 public:
  PgdSlab(const Target& target, const PgdSettings& settings, Worker& worker);

  // Points a row is evaluated at, and passes through the model, forward and backward.
  static Index iterates(const PgdSettings& s) { return runs(s) * (s.steps + 1); }
  static Index floats_per_row(const Target& target) {
    return SlabAttack::floats_per_row(target) + 6 * padded(target.features());
  }
  static double passes(const PgdSettings& s) { return 2.0 * static_cast<double>(iterates(s) * (1 + s.samples)); }

 private:
  void attack() override;
  static Index runs(const PgdSettings& s) { return static_cast<Index>(s.restarts) * (s.targets > 0 ? s.targets : 1); }

  void begin(int run);
  void iterate(int run);
  // All of that in one call, if the table has one that takes the model and the batch.
  bool iterate_whole(int run);
  // What the point before step 0 cost beside itself.
  Index evaluations_before(int run) const { return s_.targets > 0 && run == 0; }
  SignStep sign_step();
  void prepare(int step);
  void iterate_once(int run, int step);
  void move(int run, int step);
  void move_through_layer();
  void estimate_gradient(int run, int step);
  void sample();
  StepRows step_along(Rows direction) const;
  void move_adam();

  // Rounds that repeat: all steps but the first and the last; the samples of a step.
  enum Kind : int { kStep, kSample };

  const PgdSettings s_;
  const bool fused_;  // the model's backward pass ends in the step
  DenseModel dense_;  // of a model of linear layers
  bool is_dense_;
  Rows next_logits_;     // of x after a step that has taken them along; null where none does
  Rows gradient_;        // null where fused
  Rows memory_;          // Adam's average; null without
  Rows squares_, away_;  // its average of squares, and its direction
  Rows centre_, noise_;  // samples: x, and a direction from it
  float* plus_ = nullptr;
  std::uint32_t* draw_ = nullptr;           // of the sample
  AdamCorrections* corrections_ = nullptr;  // of the step
  float* length_ = nullptr;
  float* top_ = nullptr;
};

}  // namespace epsball
