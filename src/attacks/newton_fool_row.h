// NewtonFool's decision: how far a row steps down the slope of its label's probability.
#pragma once

#include "array.h"
#include "formulas.h"
#include "lane.h"

namespace epsball {

struct NewtonFoolRows {
  Index classes = 0;
  const float* loss = nullptr;    // (rows) cross-entropy: -log of the label's probability p
  const float* slope = nullptr;   // (rows) of the cross-entropy, over 1 - p: what is left of it where p rounds to 1
  const float* length = nullptr;  // (rows) of x0
  float eta = 0.0f;
  float* step_size = nullptr;  // (rows)
};

namespace EPSBALL_ISA {

// As far as Newton's step from p to chance, but no farther than eta times the length of x0. Of two classes chance is
// the boundary itself, which such steps, cut short by the box, come near and never cross: they aim a little lower.
EPSBALL_HD void decide(const NewtonFoolRows& a, Index row) {
  const float loss = a.loss[row], p = exp(-loss);
  const float aim = a.classes > 2 ? 1.0f / static_cast<float>(a.classes) : 0.49f;
  const float slope = p * -expm1(-loss) * a.slope[row], most = a.eta * a.length[row];
  const float excess = max(p - aim, 0.0f);
  a.step_size[row] = excess < most * slope ? excess / slope : most;
}

}  // namespace EPSBALL_ISA
}  // namespace epsball
