// Perturbations that are added before a training pass and moved after it.
#include "training/replay.h"

#include <limits>

#include "combine.h"
#include "training/evaluator.h"

namespace epsball {

Replay::Replay(const Kernels& kernels, Index features, Worker& worker)
    : k_(kernels),
      stream_(worker.context.stream),
      features_(features),
      moving_(worker.arena.take<std::uint8_t>(worker.slab_rows)),
      infinite_(filled(k_, worker, features, std::numeric_limits<float>::infinity())),
      negative_(filled(k_, worker, features, -std::numeric_limits<float>::infinity())) {
  for (Rows* buffer : {&moved_, &zero_, &lo_, &hi_, &gradient_})
    *buffer = worker.arena.take_rows(worker.slab_rows, features);
  k_.fill(stream_, zero_.data, 0, worker.slab_rows * zero_.ld * static_cast<Index>(sizeof(float)));
}

void Replay::apply(const ReplayInputs& in, Index first, Index rows, Rows x, Rows x_adv) const {
  CombineRows sum = sum_of({{x.data, x.ld}, {in.perturbation + first * features_, features_}}, rows, features_, x_adv);
  sum.lo = in.box_lo;
  sum.hi = in.box_hi;
  k_.combine(stream_, sum);
}

void Replay::move(const ReplayInputs& in, Index first, Index rows, PlanPass& pass, Rows x) const {
  float* const kept = in.perturbation + first * features_;
  k_.copy_rows(stream_, rows, features_, kept, features_, moved_.data, moved_.ld, nullptr, nullptr);
  k_.limits(stream_, {rows, features_, zero_.data, zero_.ld, in.radius + first, negative_, infinite_, nullptr, 0,
                      lo_.data, hi_.data});
  SignStep step;
  step.x = moved_.data;
  step.lo = lo_.data;
  step.hi = hi_.data;
  step.ld = moved_.ld;
  step.size = in.step_size + first;
  step.moving = moving_;
  pass.backward_input(rows, x, gradient_, &step);
  k_.copy_rows(stream_, rows, features_, moved_.data, moved_.ld, kept, features_, nullptr, nullptr);
}

}  // namespace epsball
