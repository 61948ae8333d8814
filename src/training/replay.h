// Adversarial training for free: a perturbation per place in the batch, carried from step to step and from batch to
// batch, that moves by the input gradient of the training step itself (Shafahi et al. 2019, arXiv 1904.12843).
#pragma once

#include "plan.h"
#include "slabs.h"

namespace epsball {

// What a worker needs of the batch: its perturbations (rows, features), one row after another, and per row the budget.
struct ReplayInputs {
  float* perturbation = nullptr;
  const float* radius = nullptr;     // (rows)
  const float* step_size = nullptr;  // (rows)
  const float* box_lo = nullptr;     // (features)
  const float* box_hi = nullptr;
};

// One worker's buffers.
class Replay {
 public:
  Replay(const Kernels& kernels, Index features, Worker& worker);

  // x_adv = clip(x + perturbation) for the slab that starts at row `first`.
  void apply(const ReplayInputs& in, Index first, Index rows, Rows x, Rows x_adv) const;
  // perturbation = clip(perturbation + step * sign(gradient), -radius, radius), the gradient coming out of the pass.
  void move(const ReplayInputs& in, Index first, Index rows, PlanPass& pass, Rows x) const;

 private:
  const Kernels& k_;
  const Stream stream_;
  const Index features_;
  Rows moved_, zero_, lo_, hi_, gradient_;
  std::uint8_t* moving_;
  float *infinite_, *negative_;
};

}  // namespace epsball
