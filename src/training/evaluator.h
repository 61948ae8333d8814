// Inference passes over a slab of a training batch: what the model says of its rows now, and the gradient there.
#pragma once

#include "slabs.h"
#include "target.h"

namespace epsball {

// A worker's buffer of equal values, in memory of the table.
float* filled(const Kernels& kernels, Worker& worker, Index count, float value);

class Evaluator {
 public:
  Evaluator(const Target& target, Worker& worker);

  void predict(Index rows, Rows x, std::int32_t* labels);
  // p (rows, classes), one row after another.
  void probabilities(Index rows, Rows x, float* p);
  // The gradient of the loss (rows, features); labels, or targets like p. `unit`: only its direction.
  void gradient(Index rows, Rows x, Loss loss, const std::int32_t* labels, const float* targets, bool unit, Rows dx);

 private:
  LossRows loss_rows(Index rows, Rows logits) const;

  const Kernels& k_;
  const Stream stream_;
  const std::unique_ptr<Pass> pass_;
  const Index classes_;
  float* loss_;
  std::int32_t* predicted_;
};

}  // namespace epsball
