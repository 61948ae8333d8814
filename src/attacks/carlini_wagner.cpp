// Carlini and Wagner's attacks on one slab at a time.
#include "attacks/carlini_wagner.h"

#include <algorithm>
#include <limits>

#include "attacks/tighten_row.h"

namespace epsball {
namespace {

// In coordinates that are flat where x lies on the box, Adam needs some dozens of steps before anything happens.
constexpr int kLeast = 100;  // between two looks at a search's progress

}  // namespace

CarliniWagnerSlab::CarliniWagnerSlab(const Target& target, const SearchSettings& settings, Worker& worker)
    : SearchAttack(target, settings, worker) {
  w_ = moved_rows(features_);
  moment1_ = moved_rows(features_);
  moment2_ = moved_rows(features_);
  if (s_.norm == Norm::linf) tau_ = moved<float>();
  if (s_.norm == Norm::l2) return;
  penalty_ = moved<float>();
  spent_ = moved<std::int32_t>();
  won_ = worker.arena.take<std::uint8_t>(worker.slab_rows);
}

void CarliniWagnerSlab::begin() {
  begin_searches();
  if (spent_) k_.fill(stream(), spent_, 0, active_ * static_cast<Index>(sizeof(std::int32_t)));
  if (tau_) fill_floats(tau_, std::numeric_limits<float>::infinity());
}

void CarliniWagnerSlab::judge() {
  if (s_.norm == Norm::l2) {
    SearchRows search = searched(distance_);
    search.every = std::max(kLeast, s_.steps / 10);
    return k_.search(stream(), active_, search);
  }
  TightenRows a;
  a.loss = loss_;
  a.penalty = penalty_;
  a.distance = tau_ ? distance_ : nullptr;
  a.predicted = predicted_;
  a.labels = judge_;
  a.targeted = s_.targeted;
  a.abort_early = s_.abort_early;
  a.confidence = s_.confidence;
  a.steps = s_.steps;
  a.searches = s_.searches;
  a.constant = constant_;
  a.tau = tau_;
  a.before = before_;
  a.step = step_;
  a.spent = spent_;
  a.search = search_;
  a.won = won_;
  a.restart = restart_;
  a.push = push_;
  a.power1 = power1_;
  a.power2 = power2_;
  a.done = done_;
  k_.tighten(stream(), active_, a);
}

void CarliniWagnerSlab::freeze() {
  FreezeRows a;
  a.features = features_;
  a.ld = x_.ld;
  a.x0 = x0_.data;
  a.gradient = gradient_.data;
  a.won = won_;
  a.x = x_.data;
  a.lo = lo_.data;
  a.hi = hi_.data;
  k_.freeze(stream(), active_, a);
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
  a.tau = tau_;
  a.rate = s_.rate;
  a.x = x_.data;
  a.w = w_.data;
  a.moment1 = moment1_.data;
  a.moment2 = moment2_.data;
  a.penalty = penalty_;
  a.moving = moving_;
  k_.box_adam(stream(), active_, a);
}

void CarliniWagnerSlab::attack() {
  start_at_inputs();
  evaluate(false);
  track(0);
  keep_improved();
  drop_solved();
  begin();
  move();
  for (Index column = 1; active_ > 0 && column < iterates(s_); ++column) {
    worker_.interruption.check();
    once(0, [&] {
      evaluate(true);
      track(column);
      keep_improved();
      judge();
      pass_->backward(active_, x_, gradient_, nullptr);
      if (s_.norm == Norm::l0) freeze();
      move();
      drop_solved();
    });
  }
}

}  // namespace epsball
