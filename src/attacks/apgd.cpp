// Auto-PGD (Croce and Hein 2020) and its L1 variant (Croce and Hein 2021) on one slab at a time.
#include "attacks/apgd.h"

#include <algorithm>
#include <utility>

namespace epsball {
namespace {

// Steps after which the step size is looked at: 22 %, then 19, 16, ... down to 6 % further.
std::vector<int> checkpoints(int steps) {
  std::vector<int> at;
  for (int percent = 22, gap = 22; percent <= 100; gap = std::max(gap - 3, 6), percent += gap) {
    const int step = static_cast<int>((static_cast<std::int64_t>(percent) * steps + 99) / 100);
    if (at.empty() || step > at.back()) at.push_back(step);
  }
  return at;
}

}  // namespace

ApgdSlab::ApgdSlab(const Target& target, const ApgdSettings& settings, Worker& worker)
    : SlabAttack(target, settings, worker), s_(settings), checkpoints_(checkpoints(settings.steps)) {
  previous_ = moved_rows(features_);
  next_ = moved_rows(features_);
  gradient_ = moved_rows(features_);
  run_best_ = moved_rows(features_);
  run_gradient_ = moved_rows(features_);
  ball_radius_ = moved<float>();
  size_ = moved<float>();
  top_ = moved<float>();
  run_loss_ = moved<float>();
  last_ = moved<float>();
  checked_ = moved<float>();
  changed_ = moved<float>();
  mean_loss_ = worker.arena.take<float>(worker.slab_rows);
  rises_ = moved<std::int32_t>();
  halved_ = moved<std::uint8_t>();
  run_improved_ = worker.arena.take<std::uint8_t>(worker.slab_rows);
  back_ = worker.arena.take<std::uint8_t>(worker.slab_rows);
}

Index ApgdSlab::floats_per_row(const Target& target) {
  return SlabAttack::floats_per_row(target) + 5 * padded(target.features());
}

int ApgdSlab::steps_since_checkpoint(int step, int steps) const {
  if (s_.norm == Norm::l1) {
    const int every = std::max(steps / 25, 1);
    return step > 0 && step % every == 0 ? every : 0;
  }
  const auto at = std::ranges::find(checkpoints_, step);
  if (step == 0 || at == checkpoints_.end()) return 0;
  return at == checkpoints_.begin() ? step : step - *(at - 1);
}

void ApgdSlab::decide(int step, int steps) {
  ApgdRows a;
  a.loss = loss_;
  a.descend = s_.descend;
  a.first = step == 0;
  a.steps = steps_since_checkpoint(step, steps);
  a.features = static_cast<float>(features_);
  a.eps = ball_radius_;
  a.changed = changed_;
  a.best = run_loss_;
  a.last = last_;
  a.checked = checked_;
  a.size = size_;
  a.top = s_.norm == Norm::l1 ? top_ : nullptr;
  a.rises = rises_;
  a.halved = halved_;
  a.improved = run_improved_;
  a.back = back_;
  if (a.top && a.steps > 0)
    k_.row_norms(stream(), {Norm::l0, active_, features_, run_best_.data, x0_.data, run_best_.ld, changed_});
  k_.apgd(stream(), active_, a);
  const auto keep = [&](Rows from, Rows to, const std::uint8_t* rows) {
    k_.copy_rows(stream(), active_, features_, from.data, from.ld, to.data, to.ld, nullptr, rows);
  };
  keep(x_, run_best_, run_improved_);
  keep(gradient_, run_gradient_, run_improved_);
  keep(run_best_, x_, back_);
  keep(run_gradient_, gradient_, back_);
}

// L1 steps to the features that raise the loss most; else z = P(x + step) and x + 3/4 (z - x) + 1/4 (x - previous),
// which takes the place of the previous point.
void ApgdSlab::move(bool first) {
  StepRows step{ball(ball_radius_), gradient_.data, gradient_.ld, size_, moving_};
  if (s_.norm == Norm::l1) {
    step.top = top_;
    return k_.step(stream(), step);
  }
  const Rows kept = first ? previous_ : next_;
  k_.copy_rows(stream(), active_, features_, x_.data, x_.ld, kept.data, kept.ld, nullptr, nullptr);
  if (!first) step.ball.x = next_.data;
  k_.step(stream(), step);
  if (first) return;
  const auto mix = {Term{next_.data, next_.ld, nullptr, 0.75f}, Term{x_.data, x_.ld, nullptr, 0.5f},
                    Term{previous_.data, previous_.ld, nullptr, -0.25f}};
  if (s_.norm == Norm::linf) return combine(mix, previous_);  // the limits hold the ball
  k_.combine(stream(), sum_of(mix, active_, features_, previous_));
  BallRows mixed = ball(ball_radius_);
  mixed.x = previous_.data;
  k_.project(stream(), mixed);
}

void ApgdSlab::begin_phase(float times, std::uint32_t run, bool start) {
  k_.combine(stream(), sum_of({{radius_, 1, nullptr, times}}, active_, 1, {ball_radius_, 1}));
  if (start) {
    k_.start(stream(), {ball(ball_radius_), Start::sphere, ids_, s_.seed, run});
  } else {
    k_.copy_rows(stream(), active_, features_, run_best_.data, run_best_.ld, x_.data, x_.ld, nullptr, nullptr);
    k_.project(stream(), ball(ball_radius_));
  }
}

void ApgdSlab::evaluate_draws(bool gradient) {
  const auto add = [&](Rows to, Rows more, Index features, float times, bool fresh) {
    CombineRows sum = sum_of({{more.data, more.ld, nullptr, times}, {to.data, to.ld}}, active_, features, to);
    if (fresh) sum.count = 1;
    k_.combine(stream(), sum);
  };
  for (int draw = 0; draw < s_.draws; ++draw) {
    evaluate(gradient);
    const Rows here = draw == 0 ? gradient_ : next_;
    if (gradient) pass_->backward(active_, x_, here, nullptr);
    if (gradient && draw > 0) add(gradient_, next_, features_, 1.0f, false);
    if (s_.draws > 1) add({mean_loss_, 1}, {loss_, 1}, 1, 1.0f / static_cast<float>(s_.draws), draw == 0);
  }
  if (s_.draws > 1) add({loss_, 1}, {mean_loss_, 1}, 1, 1.0f, true);
}

// Judges its points where `column` is one of the trace's; `unjudged` were evaluated before.
void ApgdSlab::iterate_once(int step, int steps, Index column, Index unjudged) {
  const bool last = step == steps;
  evaluate_draws(!last);
  if (column >= 0) {
    track(column + step, s_.draws + (step == 0 ? unjudged : 0));
    keep_improved();
  }
  decide(step, steps);
  if (column >= 0) drop_solved();
  if (!last) move(step == 0);
}

// The two points change places at every step but the first, and so do two kinds of steps.
void ApgdSlab::iterate(int steps, Index column, Index unjudged) {
  for (int step = 0; active_ > 0; ++step) {
    worker_.interruption.check();
    const bool repeats = step > 0 && step < steps && steps_since_checkpoint(step, steps) == 0;
    once(repeats ? 2 * swapped_ + (column >= 0) : -1, [&] { iterate_once(step, steps, column, unjudged); });
    if (step == steps) return;
    if (step == 0 || s_.norm == Norm::l1) continue;
    std::swap(previous_, x_);
    swapped_ = !swapped_;
  }
}

void ApgdSlab::run_once(int run) {
  const auto number = static_cast<std::uint32_t>(run);
  const Index column = static_cast<Index>(run) * (last_phase(s_) + 1);
  const int phase = first_phase(s_), logits = s_.targets > 0 && run == 0;
  if (phase > 0) {
    begin_phase(3.0f, number, true);
    iterate(phase, -1, 0);
    begin_phase(2.0f, number, false);
    iterate(phase, -1, 0);
  }
  begin_phase(1.0f, number, phase == 0);
  iterate(last_phase(s_), column, logits + (phase > 0 ? 2 * (phase + 1) * s_.draws : 0));
}

void ApgdSlab::attack() {
  if (s_.targets > 0) remember_logits();
  const int runs_each = s_.restarts;
  for (int run = 0; run < runs(s_) && active_ > 0; ++run) {
    if (s_.targets > 0) aim(run / runs_each);
    run_once(run);
  }
}

}  // namespace epsball
