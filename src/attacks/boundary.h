// Boundary: a walk along the boundary, sideways around x0 and then towards it, by labels alone.
#pragma once

#include "attacks/decision.h"

namespace epsball {

struct BoundarySettings : DecisionSettings {
  int steps = 25000;
  float orthogonal = 0.01f;  // first step sideways, in distances from x0
  float towards = 0.01f;     // first step towards x0, in distances
};

class BoundarySlab : public DecisionAttack {
 public:
  BoundarySlab(const Target& target, const BoundarySettings& settings, Worker& worker);

  static Index iterates(const BoundarySettings& s) { return s.steps + 1; }
  static double passes(const BoundarySettings& s) { return static_cast<double>(s.steps) + 1; }

 private:
  void attack() override;
  void propose();
  void adapt(bool sideways);

  const BoundarySettings s_;
  Rows away_;    // from x0 to the point
  Rows around_;  // the point walked to around x0
  float *orthogonal_, *towards_;
  std::int32_t* counts_[2][2];  // asked and passed, of points around x0 and of points nearer to it
  float *dot_, *square_, *stay_, *move_, *reached_;
};

}  // namespace epsball
