// DDN's decisions: a row's sphere shrinks once the row is misclassified and grows while it is not.
#pragma once

#include "array.h"
#include "lane.h"

namespace epsball {

struct DdnRows {
  const std::int32_t* predicted = nullptr;  // (rows) at the point being left
  const std::int32_t* labels = nullptr;     // (rows)
  const float* farthest = nullptr;  // (rows) distance of the box's farthest corner: no larger radius means anything
  bool targeted = false;
  float gamma = 0.0f;
  const float* size = nullptr;  // (1) of this step
  float* radius = nullptr;      // (rows)
  float* step_size = nullptr;   // (rows)
};

// What brings a row from its distance onto its sphere: x <- scale * x + rest * x0.
struct SphereRows {
  const float* radius = nullptr;    // (rows)
  const float* distance = nullptr;  // (rows)
  float* scale = nullptr;           // (rows)
  float* rest = nullptr;            // (rows)
};

namespace EPSBALL_ISA {

EPSBALL_HD void decide(const DdnRows& a, Index row) {
  const bool adversarial = (a.predicted[row] == a.labels[row]) == a.targeted;
  a.radius[row] = min(a.radius[row] * (adversarial ? 1.0f - a.gamma : 1.0f + a.gamma), a.farthest[row]);
  a.step_size[row] = *a.size;
}

EPSBALL_HD void decide(const SphereRows& a, Index row) {
  const float scale = a.distance[row] > 0.0f ? a.radius[row] / a.distance[row] : 1.0f;
  a.scale[row] = scale;
  a.rest[row] = 1.0f - scale;
}

}  // namespace EPSBALL_ISA
}  // namespace epsball
