// Projected gradient descent and its single-step relatives on one slab at a time.
#include "attacks/pgd.h"

namespace epsball {

PgdSlab::PgdSlab(const Target& target, const PgdSettings& settings, Worker& worker)
    : SlabAttack(target, settings, worker), s_(settings) {
  const bool fused = s_.norm == Norm::linf && target.fuses_step();
  if (!fused) gradient_ = worker.arena.take_rows(worker.slab_rows, features_);
}

void PgdSlab::begin(int restart) {
  if (!s_.random_start) return start_at_inputs();
  k_.start(stream(), {ball(start_radius_), s_.start, ids_, s_.seed, static_cast<std::uint32_t>(restart)});
}

void PgdSlab::move() {
  if (s_.norm == Norm::linf) {
    SignStep step{x_.data, lo_.data, hi_.data, x_.ld, step_size_, moving_, nullptr, improved_, slot_};
    if (s_.keep_best) step.best = best_.data;
    pass_->backward(active_, x_, gradient_, &step);
    return;
  }
  keep_improved();
  pass_->backward(active_, x_, gradient_, nullptr);
  k_.step(stream(), {ball(radius_), gradient_.data, gradient_.ld, step_size_, moving_});
}

void PgdSlab::iterate(int restart) {
  const Index column = static_cast<Index>(restart) * (s_.steps + 1);
  for (int step = 0; active_ > 0; ++step) {
    worker_.interruption.check();
    const bool last = step == s_.steps;
    if (last && !s_.judge) return;
    evaluate(!last);
    if (s_.keep_best || last) track(column + step, s_.keep_best ? 1 : s_.steps + 1);
    last ? keep_improved() : move();
    drop_solved();
    if (last) return;
  }
}

void PgdSlab::attack() {
  for (int restart = 0; restart < s_.restarts && active_ > 0; ++restart) {
    begin(restart);
    iterate(restart);
  }
}

}  // namespace epsball
