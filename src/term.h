// What multiplies a row of one summand of a combination.
#pragma once

#include "formulas.h"
#include "kernels.h"

namespace epsball::EPSBALL_ISA {

EPSBALL_HD float factor(const Term& t, Index row) {
  float f = t.times * (t.by ? t.by[row] : 1.0f);
  if (t.over) f = t.over[row] > 0.0f ? f / t.over[row] : 0.0f;
  return clip(f, -0x1.fffffep127f, 0x1.fffffep127f);  // over may be denormal, and inf * 0 is not 0
}

}  // namespace epsball::EPSBALL_ISA
