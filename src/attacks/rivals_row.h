// The classes that a targeted run aims at: those after the label, in order of their logits.
#pragma once

#include "array.h"
#include "lane.h"

namespace epsball {

struct Rivals {
  const float* logits = nullptr;  // (rows, classes)
  Index ld = 0, classes = 0;
  const std::int32_t* labels = nullptr;  // (rows)
  Index rank = 0;                        // 0: the largest logit that is not the label's
  std::int32_t* rivals = nullptr;        // (rows)
};

namespace EPSBALL_ISA {

// One logit z stands for the logits (0, z). Of equal ones the first class comes first.
EPSBALL_HD void rivals_row(const Rivals& r, Index row) {
  const std::int32_t label = r.labels[row];
  if (r.classes == 1) {
    r.rivals[row] = 1 - label;
    return;
  }
  const float* z = r.logits + row * r.ld;
  for (std::int32_t j = 0; j < r.classes; ++j) {
    if (j == label) continue;
    Index before = 0;
    for (std::int32_t i = 0; i < r.classes; ++i) before += i != label && (z[i] > z[j] || (z[i] == z[j] && i < j));
    if (before == r.rank) r.rivals[row] = j;
  }
}

}  // namespace EPSBALL_ISA
}  // namespace epsball
