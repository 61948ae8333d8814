// Carlini and Wagner's attacks: Adam on coordinates in which the box is everywhere. L2 searches for the constant;
// L-infinity lowers a threshold on the moves, and L0 the number of features, for as long as a row wins.
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
  void begin();
  // What the point evaluated last means for each row.
  void judge();
  void freeze();
  void move();

  Rows w_, moment1_, moment2_;
  float* tau_ = nullptr;      // L-infinity
  float* penalty_ = nullptr;  // L-infinity and L0
  std::int32_t* spent_ = nullptr;
  std::uint8_t* won_ = nullptr;
};

}  // namespace epsball
