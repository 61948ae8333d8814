// Carlini and Wagner's L2 attack: Adam on coordinates in which the box is everywhere.
#pragma once

#include "attacks/search.h"

namespace epsball {

class CarliniWagnerSlab : public SearchAttack {
 public:
  CarliniWagnerSlab(const Target& target, const SearchSettings& settings, Worker& worker);

  static double passes(const SearchSettings& s) { return 2.0 * static_cast<double>(iterates(s)); }
  static Index floats_per_row(const Target& target) {
    return SlabAttack::floats_per_row(target) + 4 * padded(target.features());
  }

 private:
  void attack() override;
  void move();

  Rows w_, moment1_, moment2_;
};

}  // namespace epsball
