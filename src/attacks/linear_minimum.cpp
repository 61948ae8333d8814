// The minimum of linear models on one slab at a time.
#include "attacks/linear_minimum.h"

namespace epsball {

void LinearMinimumSlab::project(Index rival) {
  start_at_inputs();
  evaluate(false);
  find_plane(rival, 1);
  for (const float beyond : kBeyond) {
    k_.combine(stream(), sum_of({{value_, 1, nullptr, 1.0f + beyond}}, active_, 1, {value_, 1}));
    k_.hyperplane(stream(), {norm_, active_, features_, x0_.data, x0_.data, normal_.data, value_, lo_.data, hi_.data,
                             x_.ld, x_.data});
    evaluate(false);
    track(1);
    keep_improved();
  }
}

void LinearMinimumSlab::attack() {
  start_at_inputs();
  evaluate(false);
  track(0);
  keep_improved();
  rank_rivals();
  drop_solved();
  for (Index rival = 0; rival < rivals_count_ && active_ > 0; ++rival) {
    worker_.interruption.check();
    project(rival);
  }
}

}  // namespace epsball
