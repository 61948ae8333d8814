// Szegedy's attack: L-BFGS on squared distance and cross-entropy within the box, with a search for the constant between
// them.
#pragma once

#include "attacks/search.h"

namespace epsball {

class LbfgsSlab : public SearchAttack {
 public:
  LbfgsSlab(const Target& target, const SearchSettings& settings, Worker& worker);

  static double passes(const SearchSettings& s) { return 2.0 * static_cast<double>(iterates(s)); }
  static Index floats_per_row(const Target& target);

 private:
  void attack() override;
  void move();

  Rows x_k_, slope_, direction_, history_;
  float* step_length_;
  std::int32_t* pairs_;
};

}  // namespace epsball
