// Fast minimum norm on one slab at a time.
#include "attacks/fmn.h"

#include "attacks/schedule.h"

namespace epsball {

FmnSlab::FmnSlab(const Target& target, const FmnSettings& settings, Worker& worker)
    : SlabAttack(target, settings, worker), s_(settings) {
  gradient_ = worker.arena.take_rows(worker.slab_rows, features_);
  ball_ = moved<float>();
  farthest_ = moved<float>();
  step_ = worker.arena.take<FmnStep>(1);
  slope_ = worker.arena.take<float>(worker.slab_rows);
}

void FmnSlab::move() {
  pass_->backward(active_, x_, gradient_, nullptr);
  slope(gradient_, slope_);
  const TrackBest best = tracked();
  FmnRows f{predicted_, judge_, slot_, best.success, best_distance_, distance_, loss_, slope_, farthest_};
  f.targeted = s_.targeted;
  f.count = s_.norm == Norm::l0;
  f.step = step_;
  f.radius = ball_;
  f.step_size = step_size_;
  k_.fmn(stream(), active_, f);
  BallRows steps = ball(radius_);
  steps.norm = Norm::l2;  // of the step, whatever the ball's
  k_.step(stream(), {steps, gradient_.data, gradient_.ld, step_size_, moving_});
  k_.project(stream(), ball(ball_));
}

void FmnSlab::attack() {
  start_at_inputs();
  fill_floats(ball_, 1.0f);
  farthest_corner(s_.norm, farthest_);
  const auto prepare = [&](int step) {
    const FmnStep now{cosine(s_.gamma, s_.gamma / 50.0f, step, s_.steps),
                      cosine(s_.step_size, s_.step_size / 100.0f, step, s_.steps)};
    k_.put(stream(), step_, &now, sizeof now);
  };
  take_steps(s_.steps, prepare, [&] { move(); });
}

}  // namespace epsball
