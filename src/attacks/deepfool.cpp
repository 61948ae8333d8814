// DeepFool on one slab at a time.
#include "attacks/deepfool.h"

namespace epsball {

DeepFoolSlab::DeepFoolSlab(const Target& target, const DeepFoolSettings& settings, Worker& worker)
    : PlaneAttack(target, settings, worker, rivals_of(target, settings.candidates)), s_(settings) {
  total_ = moved_rows(features_);
}

void DeepFoolSlab::move() {
  constexpr float kBeyond = 1e-4f;  // the authors': a step that the box cuts short would come ever nearer, never across
  find_plane(0, rivals_count_, kBeyond);
  BallRows total = ball(radius_);
  total.x = total_.data;
  k_.step(stream(), {total, normal_.data, normal_.ld, away_, moving_});
  combine({{total_.data, total_.ld, nullptr, 1.0f + s_.overshoot}, {x0_.data, x0_.ld, nullptr, -s_.overshoot}}, x_);
}

void DeepFoolSlab::attack() {
  start_at_inputs();
  k_.copy_rows(stream(), active_, features_, x0_.data, x0_.ld, total_.data, total_.ld, nullptr, nullptr);
  for (int step = 0; active_ > 0; ++step) {
    worker_.interruption.check();
    const bool first = step == 0, last = step == s_.steps;
    once(first || last ? -1 : 0, [&] {
      evaluate(false);
      track(step);
      keep_improved();
      if (first) rank_rivals();
      if (last) return;
      move();
      drop_solved();
    });
    if (last) return;
  }
}

}  // namespace epsball
