// Boundary (Brendel et al. 2018) on one slab at a time.
#include "attacks/boundary.h"

namespace epsball {

BoundarySlab::BoundarySlab(const Target& target, const BoundarySettings& settings, Worker& worker)
    : DecisionAttack(target, settings, worker), s_(settings) {
  Arena& arena = worker.arena;
  const Index rows = worker.slab_rows;
  away_ = arena.take_rows(rows, features_);
  around_ = arena.take_rows(rows, features_);
  orthogonal_ = moved<float>();
  towards_ = moved<float>();
  for (auto& kind : counts_)
    for (std::int32_t*& count : kind) count = moved<std::int32_t>();
  for (float** each : {&dot_, &square_, &stay_, &move_, &reached_}) *each = arena.take<float>(rows);
}

// around_ = a point beside point_, as far from x0; x_ = one from there towards x0.
void BoundarySlab::propose() {
  norms(point_, x0_.data, distance_);
  add({{point_.data, point_.ld}, {x0_.data, x0_.ld, nullptr, -1.0f}}, away_);
  draw_direction();
  k_.row_dots(stream(), active_, features_, noise_.data, noise_.ld, away_.data, away_.ld, dot_);
  k_.row_dots(stream(), active_, features_, away_.data, away_.ld, away_.data, away_.ld, square_);
  add({{noise_.data, noise_.ld}, {away_.data, away_.ld, dot_, -1.0f, square_}}, noise_);
  k_.row_norms(stream(), {Norm::l2, active_, features_, noise_.data, nullptr, noise_.ld, length_, lo_.data, hi_.data});
  WalkRows walk{distance_, nullptr, orthogonal_, towards_, stay_, move_};
  k_.decision_walk(stream(), active_, walk);
  combine({{x0_.data, x0_.ld}, {away_.data, away_.ld, stay_}, {noise_.data, noise_.ld, move_, 1.0f, length_}}, around_);
  norms(around_, x0_.data, reached_);
  walk.around = reached_;
  k_.decision_walk(stream(), active_, walk);
  combine({{around_.data, around_.ld, stay_}, {x0_.data, x0_.ld, move_}}, x_);
}

void BoundarySlab::adapt(bool sideways) {
  AdaptRows a{unasked_, adversarial_, sideways, distance_, reached_, orthogonal_, towards_};
  a.asked = counts_[sideways][0];
  a.passed = counts_[sideways][1];
  a.improved = sideways ? nullptr : improved_;
  k_.decision_adapt(stream(), active_, a);
}

void BoundarySlab::attack() {
  constexpr int kCuts = 10, kSideways = 10;  // steps of a bisection; steps between queries of the sideways point
  begin();
  keep_nearest(0);
  bisect(kCuts);
  fill_floats(orthogonal_, s_.orthogonal);
  fill_floats(towards_, s_.towards);
  for (auto& kind : counts_)
    for (std::int32_t* count : kind) k_.fill(stream(), count, 0, active_ * static_cast<Index>(sizeof(std::int32_t)));
  for (int step = 0;; ++step) {
    keep_nearest(step);
    if (step == s_.steps || active_ == 0) return;
    worker_.interruption.check();
    propose();
    if (step % kSideways == 0 && ask(around_, 1, nullptr)) adapt(true);
    norms(x_, x0_.data, reached_);
    if (!ask(x_, 1, nullptr)) continue;
    adapt(false);
    copy_where(x_, point_, improved_);
  }
}

}  // namespace epsball
