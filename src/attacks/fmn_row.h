// FMN's decisions: the radius of a row's ball from what it was, what was found and how far the boundary seems to be.
#pragma once

#include "array.h"
#include "formulas.h"

namespace epsball {

// What changes from step to step.
struct FmnStep {
  float gamma = 0.0f, size = 0.0f;
};

struct FmnRows {
  const std::int32_t* predicted = nullptr;  // (rows) at the point being left
  const std::int32_t* labels = nullptr;     // (rows)
  const std::int32_t* slot = nullptr;       // (rows)
  const std::uint8_t* success = nullptr;    // (slots) the row was adversarial before
  const float* best_distance = nullptr;     // (slots)
  const float* distance = nullptr;          // (rows)
  const float* loss = nullptr;              // (rows) the margin
  const float* slope = nullptr;             // (rows) its gradient in the dual norm
  const float* farthest = nullptr;  // (rows) distance of the box's farthest corner: no larger radius means anything
  bool targeted = false, count = false;  // count: L0, whose radius is a number of features
  const FmnStep* step = nullptr;         // (1)
  float* radius = nullptr;               // (rows)
  float* step_size = nullptr;            // (rows)
};

namespace EPSBALL_ISA {

// The largest whole number that is not above v >= 0; numbers of features are far below 2^31.
EPSBALL_HD float whole(float v) { return v < 2147483000.0f ? static_cast<float>(static_cast<std::int32_t>(v)) : v; }

EPSBALL_HD void decide(const FmnRows& a, Index row) {
  const bool adversarial = (a.predicted[row] == a.labels[row]) == a.targeted;
  const std::int32_t slot = a.slot[row];
  const float best = a.success[slot] ? a.best_distance[slot] : __builtin_inff();
  const float gamma = a.step->gamma;
  float r = a.radius[row];
  const float shrunk = r * (1.0f - gamma), grown = r * (1.0f + gamma);
  if (a.count) {
    r = adversarial ? min(min(max(r - 1.0f, 0.0f), whole(shrunk)), best) : max(r + 1.0f, whole(grown));
  } else if (adversarial) {
    r = min(shrunk, best);
  } else {
    // A little beyond the boundary as it looks from here: exactly on it, or by a share of what is left, a row would
    // come ever nearer, never across, where the box takes a part of every step.
    const float boundary = a.distance[row] + abs(a.loss[row]) / a.slope[row];
    r = a.success[slot] ? grown : a.slope[row] > 0.0f ? (1.0f + gamma) * boundary : __builtin_inff();
  }
  a.radius[row] = min(r, a.farthest[row]);
  a.step_size[row] = a.step->size;
}

}  // namespace EPSBALL_ISA
}  // namespace epsball
