// L-BFGS on one slab at a time.
#include "attacks/lbfgs.h"

#include "attacks/lbfgs_row.h"

namespace epsball {

namespace {

Index history_floats(Index features) { return 2 * kPairs * padded(features); }

}  // namespace

LbfgsSlab::LbfgsSlab(const Target& target, const SearchSettings& settings, Worker& worker)
    : SearchAttack(target, settings, worker) {
  x_k_ = moved_rows(features_);
  slope_ = moved_rows(features_);
  direction_ = moved_rows(features_);
  history_ = moved_rows(history_floats(features_));
  step_length_ = moved<float>();
  pairs_ = moved<std::int32_t>();
}

Index LbfgsSlab::floats_per_row(const Target& target) {
  return SlabAttack::floats_per_row(target) + 4 * padded(target.features()) + history_floats(target.features());
}

void LbfgsSlab::move() {
  LbfgsRows a;
  a.search = searched(nullptr);
  a.features = features_;
  a.ld = x_.ld;
  a.x0 = x0_.data;
  a.lo = lo_.data;
  a.hi = hi_.data;
  a.gradient = gradient_.data;
  a.x = x_.data;
  a.x_k = x_k_.data;
  a.slope = slope_.data;
  a.direction = direction_.data;
  a.history = history_.data;
  a.history_ld = history_.ld;
  a.step_length = step_length_;
  a.pairs = pairs_;
  a.moving = moving_;
  k_.lbfgs(stream(), active_, a);
}

void LbfgsSlab::attack() {
  start_at_inputs();
  begin_searches();
  k_.fill(stream(), pairs_, 0xff, active_ * static_cast<Index>(sizeof(std::int32_t)));
  for (Index column = 0; active_ > 0 && column < iterates(s_); ++column) {
    worker_.interruption.check();
    once(column > 0 ? 0 : -1, [&] {
      evaluate(true);
      track(column);
      keep_improved();
      pass_->backward(active_, x_, gradient_, nullptr);
      move();
      drop_solved();
    });
  }
}

}  // namespace epsball
