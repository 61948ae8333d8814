// How a worker makes the rows of a batch that a method trains on: clean, attacked, shifted, boxes.
#pragma once

#include "training/batch_boxes.h"
#include "training/evaluator.h"
#include "training/replay.h"
#include "training/virtual_adversarial.h"

namespace epsball {

// One worker's way from the rows of the data to those of every part.
struct BatchMaker {
  // `companions`: of the plan, where the method trains on boxes; else null.
  BatchMaker(const Plan& plan, const Companions* companions, const Batch& batch, std::uint64_t seed, Worker& worker);
  void make(const TrainingData& data, const Batch& batch, Index first, Index rows);
  ReplayInputs replayed(const Batch& batch) const;

  const MethodSettings& method;
  const Kernels& k;
  std::unique_ptr<PgdSlab> attack;
  std::unique_ptr<VirtualAdversarial> virtual_adversarial;
  std::unique_ptr<Replay> replay;
  std::unique_ptr<Evaluator> evaluator;
  Rows gradient;

  std::unique_ptr<BatchBoxes> boxes;

 private:
  void attack_rows(const Batch& batch, Index first, Index rows);
  void shift(const Batch& batch, Source source, float times, Index first, Index rows) const;
};

}  // namespace epsball
