// FAB's decisions: how far a step leans towards the original point, and how far an adversarial one is drawn back to it.
#pragma once

#include "array.h"
#include "lane.h"

namespace epsball {

// Before the step, from the distances of x and of x0 to their projections.
struct FabRows {
  const float* to_plane = nullptr;    // (rows) ||projection of x - x||, null: after the step
  const float* from_start = nullptr;  // (rows) ||projection of x0 - x0||
  float most = 0.0f;                  // alpha is at most this
  float* start = nullptr;             // (rows) alpha, the weight of what starts at x0
  float* here = nullptr;              // (rows) 1 - alpha, the weight of what starts at x
  // After it, from what the model says: an adversarial x goes back to x0 + beta (x - x0).
  const std::int32_t* predicted = nullptr;  // (rows)
  const std::int32_t* labels = nullptr;     // (rows)
  float beta = 1.0f;
};

// How far from x0 a restart begins: half the way to the best point so far, and no farther than half of `most`.
struct FabStartRows {
  const std::int32_t* slot = nullptr;     // (rows)
  const std::uint8_t* success = nullptr;  // (slots)
  const float* best_distance = nullptr;   // (slots)
  float most = 0.0f;
  float* radius = nullptr;  // (rows)
};

namespace EPSBALL_ISA {

EPSBALL_HD void decide(const FabStartRows& a, Index row) {
  const std::int32_t slot = a.slot[row];
  a.radius[row] = 0.5f * (a.success[slot] ? min(a.best_distance[slot], a.most) : a.most);
}

EPSBALL_HD void decide(const FabRows& a, Index row) {
  float start;
  if (a.to_plane) {
    const float there = max(a.to_plane[row], 1e-8f), back = max(a.from_start[row], 1e-8f);
    start = min(there / (there + back), a.most);
  } else {
    start = a.predicted[row] != a.labels[row] ? 1.0f - a.beta : 0.0f;
  }
  a.start[row] = start;
  a.here[row] = 1.0f - start;
}

}  // namespace EPSBALL_ISA
}  // namespace epsball
