// Carlini and Wagner's L2 attack on one slab at a time.
#include "attacks/carlini_wagner.h"

namespace epsball {

CarliniWagnerSlab::CarliniWagnerSlab(const Target& target, const SearchSettings& settings, Worker& worker)
    : SearchAttack(target, settings, worker) {
  w_ = moved_rows(features_);
  moment1_ = moved_rows(features_);
  moment2_ = moved_rows(features_);
}

void CarliniWagnerSlab::move() {
  BoxAdam a;
  a.features = features_;
  a.ld = x_.ld;
  a.x0 = x0_.data;
  a.lo = lo_.data;
  a.hi = hi_.data;
  a.gradient = gradient_.data;
  a.push = push_;
  a.power1 = power1_;
  a.power2 = power2_;
  a.restart = restart_;
  a.rate = s_.rate;
  a.x = x_.data;
  a.w = w_.data;
  a.moment1 = moment1_.data;
  a.moment2 = moment2_.data;
  a.moving = moving_;
  k_.box_adam(stream(), active_, a);
}

void CarliniWagnerSlab::attack() {
  start_at_inputs();
  evaluate(false);
  track(0);
  keep_improved();
  drop_solved();
  begin_searches();
  move();
  for (Index column = 1; active_ > 0; ++column) {
    worker_.interruption.check();
    evaluate(true);
    track(column);
    keep_improved();
    k_.search(stream(), active_, searched(distance_));
    pass_->backward(active_, x_, gradient_, nullptr);
    move();
    drop_solved();
  }
}

}  // namespace epsball
