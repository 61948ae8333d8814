// The feature that an attack on binary features, or on counts, moves next.
#pragma once

#include "formulas.h"

namespace epsball {

// Of the features that may move, the one whose move changes the loss most to first order, the first of equals, goes to
// its end of the box and is fixed. With `rise` features at lo go to hi; without, those above lo go to lo.
struct FlipRows {
  Index features = 0, ld = 0;
  const float* gradient = nullptr;  // of what is to rise
  bool rise = true;
  float* x = nullptr;
  float* lo = nullptr;
  float* hi = nullptr;
  std::uint8_t* moving = nullptr;  // (rows) set to 1 where any gradient element is not 0
  std::uint8_t* done = nullptr;    // (rows) set to 1 where no move helps, unless all gradients were 0
};

namespace EPSBALL_ISA {

// 0 where a feature may not move, or its move does not help.
template <class V>
EPSBALL_HD V gain_of(const FlipRows& a, V x, V lo, V hi, V gradient) {
  const auto may = a.rise ? (lo < hi) & (x == lo) : (lo < hi) & (x > lo);
  return select(may, max(gradient * ((a.rise ? hi : lo) - x), V{}), V{});
}

}  // namespace EPSBALL_ISA
}  // namespace epsball
