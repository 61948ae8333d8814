// NewtonFool (Jang et al. 2017) on one slab at a time.
#include "attacks/newton_fool.h"

#include "attacks/newton_fool_row.h"

namespace epsball {

NewtonFoolSlab::NewtonFoolSlab(const Target& target, const NewtonFoolSettings& settings, Worker& worker)
    : SlabAttack(target, settings, worker), s_(settings) {
  gradient_ = worker.arena.take_rows(worker.slab_rows, features_);
  length_ = moved<float>();
  slope_ = worker.arena.take<float>(worker.slab_rows);
}

// The cross-entropy's gradient has the direction of the probability's, and does not vanish where that is all but 1.
void NewtonFoolSlab::move() {
  pass_->backward(active_, x_, gradient_, nullptr);
  slope(gradient_, slope_);
  k_.newton_fool(stream(), active_, {classes_, loss_, slope_, length_, s_.eta, step_size_});
  k_.step(stream(), {ball(radius_), gradient_.data, gradient_.ld, step_size_, moving_});
}

void NewtonFoolSlab::attack() {
  start_at_inputs();
  k_.row_norms(stream(), {Norm::l2, active_, features_, x0_.data, nullptr, x0_.ld, length_});
  take_steps(s_.steps, [](int) {}, [&] { move(); });
}

}  // namespace epsball
