// Decoupled direction and norm on one slab at a time.
#include "attacks/ddn.h"

#include "attacks/ddn_row.h"
#include "attacks/schedule.h"

namespace epsball {

DdnSlab::DdnSlab(const Target& target, const DdnSettings& settings, Worker& worker)
    : SlabAttack(target, settings, worker), s_(settings) {
  gradient_ = worker.arena.take_rows(worker.slab_rows, features_);
  sphere_ = moved<float>();
  farthest_ = moved<float>();
  scale_ = worker.arena.take<float>(worker.slab_rows);
  size_ = worker.arena.take<float>(1);
  rest_ = worker.arena.take<float>(worker.slab_rows);
}

void DdnSlab::move() {
  pass_->backward(active_, x_, gradient_, nullptr);
  DdnRows d{predicted_, judge_, farthest_, s_.targeted, s_.gamma, size_};
  d.radius = sphere_;
  d.step_size = step_size_;
  k_.ddn(stream(), active_, d);
  k_.step(stream(), {ball(radius_), gradient_.data, gradient_.ld, step_size_, moving_});
  k_.row_norms(stream(), {Norm::l2, active_, features_, x_.data, x0_.data, x_.ld, distance_});
  k_.sphere(stream(), active_, {sphere_, distance_, scale_, rest_});
  combine({{x_.data, x_.ld, scale_}, {x0_.data, x0_.ld, rest_}}, x_);
}

void DdnSlab::attack() {
  start_at_inputs();
  fill_floats(sphere_, s_.initial_radius);
  farthest_corner(Norm::l2, farthest_);
  const auto prepare = [&](int step) {
    const float size = cosine(1.0f, 0.01f, step, s_.steps);
    k_.put(stream(), size_, &size, sizeof size);
  };
  take_steps(s_.steps, prepare, [&] { move(); });
}

}  // namespace epsball
