// Projected gradient descent and its relatives on one slab at a time.
#include "attacks/pgd.h"

#include <cmath>

#include "attacks/pgd_rows.h"

namespace epsball {

PgdSlab::PgdSlab(const Target& target, const PgdSettings& settings, Worker& worker)
    : SlabAttack(target, settings, worker),
      s_(settings),
      fused_(s_.norm == Norm::linf && !s_.adam && s_.samples == 0 && target.fuses_step()) {
  is_dense_ = pass_->dense(dense_);
  if (fused_ && k_.linear_step && is_dense_ && dense_.takes_linear_step()) next_logits_ = moved_rows(classes_);
  if (!fused_) gradient_ = moved_rows(features_);
  if (s_.adam) {
    memory_ = moved_rows(features_);
    squares_ = moved_rows(features_);
    away_ = moved_rows(features_);
    corrections_ = worker.arena.take<AdamCorrections>(1);
    length_ = worker.arena.take<float>(worker.slab_rows);
  }
  if (s_.samples > 0) {
    centre_ = worker.arena.take_rows(worker.slab_rows, features_);
    noise_ = worker.arena.take_rows(worker.slab_rows, features_);
    plus_ = worker.arena.take<float>(worker.slab_rows);
    draw_ = worker.arena.take<std::uint32_t>(1);
  }
  if (s_.top == 0) return;
  const std::vector<float> tops(static_cast<std::size_t>(worker.slab_rows), static_cast<float>(s_.top));
  top_ = worker.arena.take<float>(worker.slab_rows);
  k_.copy(stream(), top_, tops.data(), worker.slab_rows * static_cast<Index>(sizeof(float)));
}

void PgdSlab::begin(int run) {
  if (s_.random_start)
    k_.start(stream(), {ball(start_radius_), s_.start, ids_, s_.seed, static_cast<std::uint32_t>(run)});
  else
    start_at_inputs();
  const auto clear = [&](Rows r) {
    if (r.data) k_.fill(stream(), r.data, 0, active_ * r.ld * static_cast<Index>(sizeof(float)));
  };
  clear(memory_);
  clear(squares_);
}

StepRows PgdSlab::step_along(Rows direction) const {
  return {ball(radius_), direction.data, direction.ld, step_size_, moving_, top_};
}

void PgdSlab::move_adam() {
  Update u;
  u.count = active_ * x_.ld;
  u.parameter = away_.data;  // 0, from which Adam moves by 1
  u.gradient = gradient_.data;
  u.moment1 = memory_.data;
  u.moment2 = squares_.data;
  u.rate = -1.0f;
  u.beta1 = s_.decay;
  u.beta2 = s_.decay_squares;
  u.epsilon = 1e-8f;
  u.changing = corrections_;
  k_.fill(stream(), away_.data, 0, u.count * static_cast<Index>(sizeof(float)));
  k_.adam(stream(), u);
  if (s_.norm != Norm::linf) return k_.step(stream(), step_along(away_));
  // A step of size 0 notes whether there was a gradient.
  k_.fill(stream(), length_, 0, active_ * static_cast<Index>(sizeof(float)));
  k_.step(stream(), {ball(radius_), gradient_.data, gradient_.ld, length_, moving_});
  combine({{x_.data, x_.ld}, {away_.data, away_.ld, step_size_}}, x_);
}

// Adds (loss(x + delta v) - loss(x - delta v)) / (2 delta) * v / samples to the gradient, v being random.
void PgdSlab::sample() {
  const auto add = [&](Rows out, Index n, Term a, Term b) { k_.combine(stream(), sum_of({a, b}, active_, n, out)); };
  const float part = (s_.descend ? -0.5f : 0.5f) / (s_.delta * static_cast<float>(s_.samples));
  k_.noise(stream(), {s_.noise, active_, features_, ids_, s_.seed, draw_, noise_.data, noise_.ld});
  add(x_, features_, {centre_.data, centre_.ld}, {noise_.data, noise_.ld, nullptr, s_.delta});
  evaluate(false);
  k_.copy_rows(stream(), active_, 1, loss_, 1, plus_, 1, nullptr, nullptr);
  add(x_, features_, {centre_.data, centre_.ld}, {noise_.data, noise_.ld, nullptr, -s_.delta});
  evaluate(false);
  add({plus_, 1}, 1, {plus_, 1}, {loss_, 1, nullptr, -1.0f});
  add(gradient_, features_, {gradient_.data, gradient_.ld}, {noise_.data, noise_.ld, plus_, part});
}

void PgdSlab::estimate_gradient(int run, int step) {
  k_.copy_rows(stream(), active_, features_, x_.data, x_.ld, centre_.data, centre_.ld, nullptr, nullptr);
  k_.fill(stream(), gradient_.data, 0, active_ * gradient_.ld * static_cast<Index>(sizeof(float)));
  for (int i = 0; i < s_.samples; ++i) {
    const std::int64_t point = static_cast<std::int64_t>(run) * s_.steps + step;
    const auto draw = static_cast<std::uint32_t>(point * s_.samples + i) & 0xffffffu;
    k_.put(stream(), draw_, &draw, sizeof draw);
    once(kSample, [&] { sample(); });
  }
  k_.copy_rows(stream(), active_, features_, centre_.data, centre_.ld, x_.data, x_.ld, nullptr, nullptr);
}

SignStep PgdSlab::sign_step() {
  SignStep sign{x_.data, lo_.data, hi_.data, x_.ld, step_size_, moving_, nullptr, improved_, slot_};
  if (s_.keep_best) sign.best = best_.data;
  return sign;
}

void PgdSlab::move_through_layer() {
  const Rows dlogits = pass_->dlogits();
  k_.linear_step(stream(),
                 {active_, dense_.layer[0], dlogits.data, dlogits.ld, sign_step(), next_logits_.data, next_logits_.ld});
}

void PgdSlab::move(int run, int step) {
  if (next_logits_.data) return move_through_layer();
  if (fused_) {
    const SignStep sign = sign_step();
    return pass_->backward(active_, x_, gradient_, &sign);
  }
  keep_improved();
  if (s_.samples > 0)
    estimate_gradient(run, step);
  else
    pass_->backward(active_, x_, gradient_, nullptr);
  s_.adam ? move_adam() : k_.step(stream(), step_along(gradient_));
}

// What this step's calls read beside the rows.
void PgdSlab::prepare(int step) {
  if (!s_.adam) return;
  const float t = static_cast<float>(step + 1);
  const AdamCorrections c{1.0f - std::pow(s_.decay, t), 1.0f - std::pow(s_.decay_squares, t)};
  k_.put(stream(), corrections_, &c, sizeof c);
}

void PgdSlab::iterate_once(int run, int step) {
  const Index column = static_cast<Index>(run) * (s_.steps + 1) + step;
  const bool last = step == s_.steps;
  const bool gradient = !last && s_.samples == 0;
  step > 0 && next_logits_.data ? evaluate_logits(next_logits_, gradient) : evaluate(gradient);
  const Index before = step == 0 ? evaluations_before(run) : 2 * s_.samples;
  if (s_.keep_best || last) track(column, (s_.keep_best ? 1 : s_.steps + 1) + before);
  last ? keep_improved() : move(run, step);
  drop_solved();
}

bool PgdSlab::iterate_whole(int run) {
  if (!k_.pgd || !fused_ || !is_dense_) return false;
  worker_.interruption.check();
  PgdRows a;
  a.rows = active_;
  a.model = dense_;
  a.loss = loss_rows();
  a.step = sign_step();
  a.column = static_cast<Index>(run) * (s_.steps + 1);
  a.before = evaluations_before(run);
  a.best = tracked(a.column, 0);
  a.steps = s_.steps;
  a.judge = s_.judge;
  a.early_stop = s_.early_stop;
  if (!k_.pgd(stream(), a)) return false;
  drop_solved();
  return true;
}

void PgdSlab::iterate(int run) {
  if (iterate_whole(run)) return;
  const int steps = s_.judge ? s_.steps + 1 : s_.steps;
  for (int step = 0; step < steps && active_ > 0; ++step) {
    worker_.interruption.check();
    prepare(step);
    const bool repeats = step > 0 && step + 1 < s_.steps && s_.samples == 0;
    once(repeats ? kStep : -1, [&] { iterate_once(run, step); });
  }
}

void PgdSlab::attack() {
  if (s_.targets > 0) remember_logits();
  for (int run = 0; run < runs(s_) && active_ > 0; ++run) {
    if (s_.targets > 0) aim(run / s_.restarts);
    begin(run);
    iterate(run);
  }
}

}  // namespace epsball
