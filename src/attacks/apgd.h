// Auto-PGD: a gradient loop with momentum whose step halves where the loss stops rising, from its best point.
#pragma once

#include "attacks/apgd_row.h"
#include "attacks/attack.h"

namespace epsball {

struct ApgdSettings : AttackSettings {
  int steps = 100;
  int restarts = 1;  // for every target
  int draws = 1;     // of a random model's loss and gradient at every point, which are averaged
};

class ApgdSlab : public SlabAttack {
 public:
  ApgdSlab(const Target& target, const ApgdSettings& settings, Worker& worker);

  static Index floats_per_row(const Target& target);
  // Points a row is judged at, over all runs.
  static Index iterates(const ApgdSettings& s) { return runs(s) * (last_phase(s) + 1); }
  static double passes(const ApgdSettings& s) {
    return 2.0 * static_cast<double>(s.draws * runs(s) * (s.steps + kPhases));
  }

 private:
  // L1: a run shrinks its ball from 3 eps over 2 eps to eps; only points of the last ball are judged.
  static constexpr int kPhases = 3;

  static Index runs(const ApgdSettings& s) { return static_cast<Index>(s.restarts) * (s.targets > 0 ? s.targets : 1); }
  static int first_phase(const ApgdSettings& s) { return s.norm == Norm::l1 ? 3 * s.steps / 10 : 0; }
  static int last_phase(const ApgdSettings& s) { return s.steps - 2 * first_phase(s); }

  void attack() override;
  void run_once(int run);
  void begin_phase(float times, std::uint32_t run, bool start);
  void iterate(int steps, Index column, Index unjudged);
  void iterate_once(int step, int steps, Index column, Index unjudged);
  // The mean loss at x, and but for the last point the mean of the gradients, each in its own scale.
  void evaluate_draws(bool gradient);
  // What APGD decides after `step` steps of a phase of `steps`.
  void decide(int step, int steps);
  int steps_since_checkpoint(int step, int steps) const;
  void move(bool first);

  const ApgdSettings s_;
  std::vector<int> checkpoints_;
  Rows previous_, next_, gradient_, run_best_, run_gradient_;
  float *ball_radius_, *size_, *top_, *run_loss_, *last_, *checked_, *changed_, *mean_loss_;
  std::int32_t* rises_;
  std::uint8_t *halved_, *run_improved_, *back_;
  bool swapped_ = false;  // whether x_ and previous_ have changed places
};

}  // namespace epsball
