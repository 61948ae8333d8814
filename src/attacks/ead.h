// EAD: Carlini and Wagner's objective with an L1 distance beside the L2, by iterative shrinkage with momentum.
#pragma once

#include "attacks/search.h"

namespace epsball {

class EadSlab : public SearchAttack {
 public:
  EadSlab(const Target& target, const SearchSettings& settings, Worker& worker);

  static double passes(const SearchSettings& s) { return 3.0 * static_cast<double>(iterates(s)); }
  static Index floats_per_row(const Target& target) {
    return SlabAttack::floats_per_row(target) + 3 * padded(target.features());
  }

 private:
  void attack() override;
  void move();
  void judge(Index column);

  Rows y_, z_;  // where gradients are taken, and the shrunk points that are judged
  float *length_, *sparsity_;
  std::uint8_t* gained_;
};

}  // namespace epsball
