// FAB: steps between the nearest boundary plane seen from here and seen from x, drawn back to x after each success.
#pragma once

#include "attacks/planes.h"

namespace epsball {

struct FabSettings : AttackSettings {
  int steps = 100;
  Index rivals = 0;  // FAB-T: number of rivals, with a run towards each; 0: one run towards the nearest of all
  float alpha = 0.1f, eta = 1.05f, beta = 0.9f;
  int restarts = 1;     // runs for each: the first from x0, others from random points around it
  float radius = 0.0f;  // those lie no farther than half of this
};

class FabSlab : public PlaneAttack {
 public:
  FabSlab(const Target& target, const FabSettings& settings, Worker& worker);

  static Index runs(const FabSettings& s) { return s.rivals > 0 ? s.rivals : 1; }
  static Index iterates(const FabSettings& s) { return 1 + runs(s) * s.restarts * s.steps; }
  static double passes(const FabSettings& s) { return 3.0 * static_cast<double>(iterates(s)); }
  static Index floats_per_row(const Target& target) {
    return PlaneAttack::floats_per_row(target) + 2 * padded(target.features());
  }

 private:
  void attack() override;
  void pursue(Index run, Index restart);
  void start_around(Index draw);
  void move(Index run);
  void draw_back();

  const FabSettings s_;
  Rows from_here_, from_start_;
  float *to_plane_, *back_, *here_, *start_;
};

}  // namespace epsball
