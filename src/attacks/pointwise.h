// Pointwise: features of an adversarial point go back to the input one by one, as long as it stays adversarial.
#pragma once

#include "attacks/decision.h"
#include "attacks/pointwise_row.h"

namespace epsball {

struct PointwiseSettings : DecisionSettings {
  int steps = 10;      // the most passes through a row's features, for either part of the search
  bool refine = true;  // features that cannot go back go as far as they can
};

class PointwiseSlab : public DecisionAttack {
 public:
  PointwiseSlab(const Target& target, const PointwiseSettings& settings, Worker& worker);

  static Index iterates(const PointwiseSettings&) { return 2; }
  static double passes(const PointwiseSettings& s) { return 1000.0 * s.steps; }
  static Index floats_per_row(const Target& target) {
    return DecisionAttack::floats_per_row(target) + padded(target.features());
  }

 private:
  void attack() override;
  void decide(bool first);
  bool any_busy(int round);

  const PointwiseSettings s_;
  std::int32_t* order_;
  PointwiseState* state_;
  std::uint8_t* busy_;
  std::vector<std::uint8_t> seen_;  // the busy rows as the host last saw them
};

}  // namespace epsball
