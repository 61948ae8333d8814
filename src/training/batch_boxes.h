// Boxes that an attack may move rows of a batch in, and passes of intervals over them.
#pragma once

#include "training/batch.h"

namespace epsball {

// One worker's boxes: the ends that an attack may move rows between, as the last two parts of a batch have them, and
// passes over these.
struct BatchBoxes {
  BatchBoxes(const Plan& plan, const Companions& companions, Worker& worker)
      : plan(plan),
        companions(companions),
        context(worker.context),
        scratch(plan, worker.arena, worker.slab_rows),
        lower(worker.arena.take<float>(worker.slab_rows * plan.features())),
        upper(worker.arena.take<float>(worker.slab_rows * plan.features())) {}

  void make(const Batch& batch, Index first, Index rows) const;
  void forward(const Batch& batch, Index first, Index rows) const;
  void backward(const Batch& batch, Index first, Index rows, std::size_t lowest) const;

 private:
  Rows at(const Batch& b, Source source, Index first) const {
    return {b.rows_from(source) + first * b.features, b.features};
  }
  IntervalPass pass(const Batch& batch, Index first) const;

  const Plan& plan;
  const Companions& companions;
  const Context& context;
  IntervalScratch scratch;
  float *lower, *upper;
};

}  // namespace epsball
