// Flips on one slab at a time.
#include "attacks/flip.h"

#include "attacks/flip_row.h"

namespace epsball {

FlipSlab::FlipSlab(const Target& target, const FlipSettings& settings, Worker& worker)
    : SlabAttack(target, settings, worker), s_(settings) {
  gradient_ = worker.arena.take_rows(worker.slab_rows, features_);
}

void FlipSlab::attack() {
  start_at_inputs();
  for (int step = 0; active_ > 0; ++step) {
    worker_.interruption.check();
    const bool last = step == s_.steps;
    once(step > 0 && !last ? 0 : -1, [&] {
      evaluate(!last);
      track(step);
      keep_improved();
      if (last) return;
      pass_->backward(active_, x_, gradient_, nullptr);
      k_.flip(stream(), active_,
              {features_, x_.ld, gradient_.data, s_.rise, x_.data, lo_.data, hi_.data, moving_, done_});
      drop_solved();
    });
    if (last) return;
  }
}

}  // namespace epsball
