// The direction in which a model's probabilities change fastest, by power iteration (Miyato et al. 2018, arXiv
// 1704.03976).
#pragma once

#include "training/evaluator.h"

namespace epsball {

struct VirtualSettings {
  int iterations = 1;
  float xi = 1e-2f;  // length of the finite difference
  std::uint64_t seed = 0;
};

// Per row of a batch: its number, the length of the move, and the features' box.
struct VirtualInputs {
  Rows x;
  const Index* ids = nullptr;
  const float* radius = nullptr;
  const float* box_lo = nullptr;  // (features)
  const float* box_hi = nullptr;
  const std::uint8_t* mask = nullptr;  // as in Limits
  Index mask_ld = 0;
  std::uint8_t* moving = nullptr;  // (rows) set to 1 where any gradient element is not 0; may be null
};

// One worker's buffers.
class VirtualAdversarial {
 public:
  VirtualAdversarial(const Target& target, const VirtualSettings& settings, Worker& worker);

  // x_adv = x + radius * g / ||g||, g being the gradient of KL(p(x) || p(x + d)) at a d of length xi.
  void run(const VirtualInputs& in, Index rows, Rows x_adv);

 private:
  void draw(const VirtualInputs& in, Index rows);
  void step(Index rows, const float* size, Rows lo, Rows hi, std::uint8_t* moving);

  const Kernels& k_;
  const Stream stream_;
  const VirtualSettings s_;
  const Index features_;
  Evaluator evaluator_;
  Rows x0_, x_, direction_, lo_, hi_, free_lo_, free_hi_;
  float *p_, *xi_, *ones_, *infinite_, *negative_;
};

}  // namespace epsball
