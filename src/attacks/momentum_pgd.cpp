// PGD along an average of gradients on one slab at a time.
#include "attacks/momentum_pgd.h"

#include <cmath>

#include "attacks/mix_row.h"
#include "attacks/resize_row.h"

namespace epsball {

MomentumSlab::MomentumSlab(const Target& target, const MomentumSettings& settings, Worker& worker)
    : SlabAttack(target, settings, worker),
      s_(settings),
      at_x_(!s_.nesterov && s_.sigma == 0.0f && s_.chance == 0.0),
      memory_(moved_rows(features_)) {
  Arena& arena = worker.arena;
  const auto points = [&](bool needed) { return needed ? arena.take_rows(worker.slab_rows, features_) : Rows{}; };
  const auto numbers = [&] { return arena.take<float>(worker.slab_rows); };
  const bool resizes = s_.chance > 0.0, blurs = !s_.taps.empty();
  gradient_ = {points(true), log_size_ = numbers()};
  mean_ = {points(true), numbers()};
  if (s_.neighbours > 0) variance_ = {moved_rows(features_), moved<float>()};
  ahead_ = points(s_.nesterov || s_.neighbours > 0);
  noise_ = points(s_.sigma > 0.0f || s_.neighbours > 0);
  view_ = points(s_.sigma > 0.0f || s_.scales > 1);
  small_ = points(resizes);
  between_ = points(resizes || blurs);
  keep_ = numbers();
  add_ = numbers();
  length_ = numbers();
  draw_ = arena.take<std::uint32_t>(1);
  if (s_.noise_size > 0.0f) logit_noise_ = arena.take_rows(worker.slab_rows, classes_);
  if (!blurs) return;
  const auto count = static_cast<Index>(s_.taps.size());
  taps_ = arena.take<float>(count);
  k_.copy(stream(), taps_, s_.taps.data(), count * static_cast<Index>(sizeof(float)));
}

void MomentumSlab::begin(int run) {
  if (s_.random_start)
    k_.start(stream(), {ball(start_radius_), s_.start, ids_, s_.seed, static_cast<std::uint32_t>(run)});
  else
    start_at_inputs();
  k_.fill(stream(), memory_.data, 0, active_ * memory_.ld * static_cast<Index>(sizeof(float)));
}

void MomentumSlab::prepare(int run, int step) {
  if (!noise_.data && !small_.data && !logit_noise_.data) return;  // nothing is drawn
  const Index of_step = views(s_) * (1 + s_.neighbours), at = static_cast<Index>(run) * (s_.steps + 1) + step;
  const auto draw = static_cast<std::uint32_t>(at * of_step) & 0xffffffu;
  k_.put(stream(), draw_, &draw, sizeof draw);
}

// ---- views of a point ----

void MomentumSlab::draw_noise(Noise kind, Index view, Rows out, Index n) {
  k_.noise(stream(), {kind, active_, n, ids_, s_.seed, draw_, out.data, out.ld, static_cast<std::uint32_t>(view)});
}

void MomentumSlab::resize(Rows from, Rows to, Index view, bool gradient) {
  ResizeRows a;
  a.rows = active_;
  a.channels = s_.channels;
  a.height = s_.height;
  a.width = s_.width;
  a.least = s_.least;
  a.chance = s_.chance;
  a.gradient = gradient;
  a.x = from.data;
  a.between = between_.data;
  a.out = to.data;
  a.ld = from.ld;
  a.ids = ids_;
  a.seed = s_.seed;
  a.draw = draw_;
  a.more = static_cast<std::uint32_t>(view);
  k_.resize(stream(), a);
}

// A copy with noise_ at 2^-scale of its values, perhaps resized.
Rows MomentumSlab::evaluate_view(Rows point, int scale, Index view) {
  const float times = std::ldexp(1.0f, -scale);
  const Term here{point.data, point.ld, nullptr, times};
  if (s_.sigma > 0.0f)
    k_.combine(stream(),
               sum_of({here, {noise_.data, noise_.ld, nullptr, times * s_.sigma}}, active_, features_, view_));
  else if (scale > 0)
    k_.combine(stream(), sum_of({here}, active_, features_, view_));
  Rows input = s_.sigma > 0.0f || scale > 0 ? view_ : point;
  if (s_.chance > 0.0) {
    resize(input, small_, view, false);
    input = small_;
  }
  evaluate_logits(pass_->forward(active_, input), true);
  return input;
}

void MomentumSlab::mix(const float* log_term, const float* loss, float* log_sum, bool first) {
  k_.mix(stream(), active_, {log_term, loss, log_sum, first, keep_, add_});
}

void MomentumSlab::add(const Scaled& term, float times, const Scaled& sum) {
  k_.combine(stream(), sum_of({{sum.rows.data, sum.rows.ld, keep_}, {term.rows.data, term.rows.ld, add_, times}},
                              active_, features_, sum.rows));
}

void MomentumSlab::add_views(Rows point, bool evaluated, Index view, const Scaled& sum, bool fresh) {
  const float* const loss = s_.mixture ? loss_ : nullptr;
  for (int copy = 0; copy < s_.copies; ++copy) {
    if (s_.sigma > 0.0f) draw_noise(s_.noise, view, noise_, features_);
    for (int scale = 0; scale < s_.scales; ++scale, ++view, evaluated = false, fresh = false) {
      const Rows input = evaluated ? point : evaluate_view(point, scale, view);
      const Rows to = fresh ? sum.rows : gradient_.rows;
      pass_->backward(active_, input, to, nullptr);
      if (s_.chance > 0.0) {
        k_.copy_rows(stream(), active_, features_, to.data, to.ld, small_.data, small_.ld, nullptr, nullptr);
        resize(small_, to, view, true);
      }
      mix(log_size_, loss, sum.log, fresh);
      if (!fresh) add(gradient_, std::ldexp(1.0f, -scale), sum);
    }
  }
}

// ---- steps ----

// The lengths that one step has, too: in L-infinity, on average over the features.
void MomentumSlab::remember(Rows gradient) {
  const Norm norm = s_.norm == Norm::l2 ? Norm::l2 : Norm::l1;
  const float length = s_.norm == Norm::linf ? static_cast<float>(features_) : 1.0f;
  k_.row_norms(stream(), {norm, active_, features_, gradient.data, nullptr, gradient.ld, length_});
  k_.combine(stream(), sum_of({{memory_.data, memory_.ld, nullptr, s_.decay},
                               {gradient.data, gradient.ld, nullptr, length, length_}},
                              active_, features_, memory_));
}

void MomentumSlab::blur(Rows gradient) {
  BlurRows a;
  a.rows = active_;
  a.channels = s_.channels;
  a.height = s_.height;
  a.width = s_.width;
  a.taps = taps_;
  a.count = static_cast<Index>(s_.taps.size());
  a.x = gradient.data;
  a.between = between_.data;
  a.out = gradient.data;
  a.ld = gradient.ld;
  k_.blur(stream(), a);
}

// The sum of neighbours' gradients, less as many times x's.
void MomentumSlab::take_variance() {
  for (Index i = 0; i < s_.neighbours; ++i) {
    const Index view = views(s_) * (1 + i);
    draw_noise(Noise::uniform, view, noise_, features_);
    k_.combine(stream(),
               sum_of({{x_.data, x_.ld}, {noise_.data, noise_.ld, radius_, s_.reach}}, active_, features_, ahead_));
    add_views(ahead_, false, view, variance_, i == 0);
  }
  mix(mean_.log, nullptr, variance_.log, false);
  add(mean_, -static_cast<float>(s_.neighbours), variance_);
}

void MomentumSlab::move(int step) {
  if (s_.nesterov)
    k_.combine(stream(), sum_of({{x_.data, x_.ld}, {memory_.data, memory_.ld, step_size_, s_.decay}}, active_,
                                features_, ahead_));
  add_views(s_.nesterov ? ahead_ : x_, at_x_, 0, mean_, true);
  Rows direction = mean_.rows;
  if (s_.neighbours > 0) {
    direction = gradient_.rows;
    k_.copy_rows(stream(), active_, features_, mean_.rows.data, mean_.rows.ld, direction.data, direction.ld, nullptr,
                 nullptr);
    k_.copy_rows(stream(), active_, 1, mean_.log, 1, gradient_.log, 1, nullptr, nullptr);
    if (step > 0) {
      mix(variance_.log, nullptr, gradient_.log, false);
      add(variance_, 1.0f / static_cast<float>(s_.neighbours), gradient_);
    }
  }
  if (taps_) blur(direction);
  remember(direction);
  if (s_.neighbours > 0 && step + 1 < s_.steps) take_variance();
  k_.step(stream(), {ball(radius_), memory_.data, memory_.ld, step_size_, moving_});
}

Index MomentumSlab::passes_since(int step) const {
  if (!s_.keep_best) return 1 + s_.steps * views(s_);  // there are no neighbours then
  if (step == 0) return 1;
  return 1 + views(s_) * (step < s_.steps ? 1 + s_.neighbours : 1) - (at_x_ ? 1 : 0);
}

void MomentumSlab::iterate_once(int run, int step) {
  const bool last = step == s_.steps, judged = s_.keep_best || last;
  if (logit_noise_.data) draw_noise(Noise::normal, 0, logit_noise_, classes_);
  if (judged || at_x_) evaluate(at_x_ && !last);
  if (judged) {
    track(static_cast<Index>(run) * (s_.steps + 1) + step, passes_since(step));
    keep_improved();
  }
  if (!last) move(step);
  drop_solved();
}

void MomentumSlab::attack() {
  const int steps = s_.judge ? s_.steps + 1 : s_.steps;
  for (int run = 0; run < s_.restarts && active_ > 0; ++run) {
    begin(run);
    for (int step = 0; step < steps && active_ > 0; ++step) {
      worker_.interruption.check();
      prepare(run, step);
      once(step > 0 && step + 1 < s_.steps ? 0 : -1, [&] { iterate_once(run, step); });
    }
  }
}

}  // namespace epsball
