// Projected gradient descent and its single-step relatives on one slab at a time.
#include "attacks/pgd.h"

#include <numeric>

namespace epsball {

PgdSlab::PgdSlab(const Target& target, const PgdSettings& settings, Worker& worker)
    : k_(target.kernels()),
      s_(settings),
      worker_(worker),
      pass_(target.open(worker.context, worker.arena, worker.slab_rows)),
      features_(target.features()),
      classes_(target.classes()),
      counting_(static_cast<std::size_t>(worker.slab_rows)) {
  const Index rows = worker.slab_rows;
  Arena& arena = worker.arena;
  const auto moved_rows = [&](Index n) {
    const Rows r = arena.take_rows(rows, n);
    leaving_.push_back({r.data, r.ld * static_cast<Index>(sizeof(float))});
    return r;
  };
  const auto moved = [&]<class T>(T* data) {
    leaving_.push_back({data, sizeof(T)});
    return data;
  };
  x_ = moved_rows(features_);
  x0_ = moved_rows(features_);
  lo_ = moved_rows(features_);
  hi_ = moved_rows(features_);
  best_ = s_.keep_best ? arena.take_rows(rows, features_) : x_;
  const bool fused = s_.norm == Norm::linf && target.fuses_step();
  gradient_ = fused ? Rows{} : arena.take_rows(rows, features_);
  targets_ = moved_rows(classes_);
  labels_ = moved(arena.take<std::int32_t>(rows));
  judge_ = moved(arena.take<std::int32_t>(rows));
  slot_ = moved(arena.take<std::int32_t>(rows));
  radius_ = moved(arena.take<float>(rows));
  start_radius_ = moved(arena.take<float>(rows));
  step_size_ = moved(arena.take<float>(rows));
  ids_ = moved(arena.take<Index>(rows));
  moving_ = moved(arena.take<std::uint8_t>(rows));
  predicted_ = arena.take<std::int32_t>(rows);
  loss_ = arena.take<float>(rows);
  improved_ = arena.take<std::uint8_t>(rows);
  done_ = arena.take<std::uint8_t>(rows);
  std::iota(counting_.begin(), counting_.end(), 0);
}

Index PgdSlab::floats_per_row(const Target& target) { return 5 * padded(target.features()) + target.floats_per_row(); }

void PgdSlab::load(Index rows) {
  const Stream stream = worker_.context.stream;
  const auto copy = [&]<class T>(T* to, const T* from) {
    if (from) k_.copy(stream, to, from + first_, rows * static_cast<Index>(sizeof(T)));
  };
  active_ = rows;
  k_.load_rows(stream, in_->x, nullptr, first_, rows, x0_.data, x0_.ld);
  if (in_->targets) {
    const float* from = in_->targets + first_ * classes_;
    k_.copy_rows(stream, rows, classes_, from, classes_, targets_.data, targets_.ld, nullptr, nullptr);
  }
  copy(labels_, in_->labels);
  copy(judge_, in_->judge);
  copy(radius_, in_->radius);
  copy(start_radius_, in_->start_radius);
  copy(step_size_, in_->step_size);
  copy(ids_, in_->ids);
  k_.copy(stream, slot_, counting_.data(), rows * static_cast<Index>(sizeof(std::int32_t)));
  k_.fill(stream, moving_, 0, rows);
  // For L-infinity the ball is part of the box.
  const std::uint8_t* mask = in_->mask ? in_->mask + first_ * in_->mask_ld : nullptr;
  k_.limits(stream, {rows, features_, x0_.data, x0_.ld, s_.norm == Norm::linf ? radius_ : nullptr, in_->box_lo,
                     in_->box_hi, mask, in_->mask_ld, lo_.data, hi_.data});
}

void PgdSlab::begin(int restart) {
  const Stream stream = worker_.context.stream;
  if (!s_.random_start) {
    k_.copy_rows(stream, active_, features_, x0_.data, x0_.ld, x_.data, x_.ld, nullptr, nullptr);
    return;
  }
  const BallRows ball{s_.norm, active_, features_, x_.data, x0_.data, lo_.data, hi_.data, x_.ld, start_radius_};
  k_.start(stream, {ball, s_.start, ids_, s_.seed, static_cast<std::uint32_t>(restart)});
}

void PgdSlab::evaluate(bool gradient) {
  const Rows logits = pass_->forward(active_, x_);
  const Rows dlogits = pass_->dlogits();
  LossRows loss;
  loss.kind = s_.loss;
  loss.rows = active_;
  loss.classes = classes_;
  loss.logits = logits.data;
  loss.ld = logits.ld;
  loss.labels = in_->labels ? labels_ : nullptr;
  loss.targets = targets_.data;
  loss.targets_ld = targets_.ld;
  loss.scale = s_.descend ? -1.0f : 1.0f;
  loss.unit = true;
  loss.loss = loss_;
  loss.predicted = predicted_;
  loss.dlogits = gradient ? dlogits.data : nullptr;
  loss.dlogits_ld = dlogits.ld;
  k_.loss(worker_.context.stream, loss);
}

TrackBest PgdSlab::tracked() const {
  TrackBest t;
  t.loss = loss_;
  t.predicted = predicted_;
  t.labels = judge_;
  t.slot = slot_;
  t.moving = moving_;
  t.descend = s_.descend;
  t.targeted = s_.targeted;
  t.best_loss = out_->loss + first_;
  t.success = out_->success + first_;
  t.queries = out_->queries + first_;
  t.still = out_->zero_gradient + first_;
  t.broken = out_->broken + first_;
  t.improved = improved_;
  t.done = done_;
  return t;
}

void PgdSlab::track(int restart, int step) {
  const Index columns = static_cast<Index>(s_.restarts) * (s_.steps + 1);
  const Index column = static_cast<Index>(restart) * (s_.steps + 1) + step;
  TrackBest t = tracked();
  t.fresh = !s_.keep_best || column == 0;
  t.stepped = column > 0;
  t.evaluations = s_.keep_best ? 1 : s_.steps + 1;
  t.trace_ld = columns;
  t.trace = out_->trace ? out_->trace + first_ * columns + column : nullptr;
  k_.track_best(worker_.context.stream, active_, t);
}

void PgdSlab::keep_improved() {
  if (!s_.keep_best) return;
  k_.copy_rows(worker_.context.stream, active_, features_, x_.data, x_.ld, best_.data, best_.ld, slot_, improved_);
}

void PgdSlab::move() {
  if (s_.norm == Norm::linf) {
    SignStep step{x_.data, lo_.data, hi_.data, x_.ld, step_size_, moving_, nullptr, improved_, slot_};
    if (s_.keep_best) step.best = best_.data;
    pass_->backward(active_, x_, gradient_, &step);
    return;
  }
  keep_improved();
  pass_->backward(active_, x_, gradient_, nullptr);
  const BallRows ball{s_.norm, active_, features_, x_.data, x0_.data, lo_.data, hi_.data, x_.ld, radius_};
  k_.step(worker_.context.stream, {ball, gradient_.data, gradient_.ld, step_size_, moving_});
}

void PgdSlab::iterate(int restart) {
  const Stream stream = worker_.context.stream;
  for (int step = 0; active_ > 0; ++step) {
    worker_.interruption.check();
    const bool last = step == s_.steps;
    if (last && !s_.judge) return;
    evaluate(!last);
    if (s_.keep_best || last) track(restart, step);
    last ? keep_improved() : move();
    if (s_.early_stop) active_ = k_.compact(stream, active_, done_, leaving_.data(), static_cast<int>(leaving_.size()));
    if (last) return;
  }
}

// The caller's dtype is not the engine's: what counts is what the model says of the stored points.
void PgdSlab::judge_stored(Index rows) {
  load(rows);
  k_.load_rows(worker_.context.stream, out_->x_adv, nullptr, first_, rows, x_.data, x_.ld);
  evaluate(false);
  TrackBest t = tracked();
  t.fresh = true;
  t.still = nullptr;
  k_.track_best(worker_.context.stream, active_, t);
}

void PgdSlab::run(const PgdInputs& in, const PgdOutputs& out, Index first, Index rows) {
  in_ = &in;
  out_ = &out;
  first_ = first;
  k_.fill(worker_.context.stream, out.broken + first, 0, rows);
  load(rows);
  for (int restart = 0; restart < s_.restarts && active_ > 0; ++restart) {
    begin(restart);
    iterate(restart);
  }
  k_.store_rows(worker_.context.stream, {s_.norm, rows, features_, best_.data, best_.ld, in.x, out.x_adv, first, in.eps,
                                         in.exact_lo, in.exact_hi, out.distance});
  if (s_.judge && (s_.judge_again || in.x.dtype != DType::float32)) judge_stored(rows);
}

void pgd(const Target& target, ArenaPool& arenas, const PgdSettings& settings, const PgdInputs& in,
         const PgdOutputs& out, Interruption& interruption) {
  const double passes = 2.0 * settings.restarts * (settings.steps + 1);
  const Job job{target.kernels(),
                arenas,
                interruption,
                in.x.rows,
                PgdSlab::floats_per_row(target),
                passes * static_cast<double>(in.x.rows) * static_cast<double>(target.multiply_adds()),
                target.largest_product(),
                target.slab_tile(),
                target.slab_rows()};
  for_slabs(job, [&](Worker& worker) {
    PgdSlab slab(target, settings, worker);
    for (Index first, rows; worker.next(first, rows);) slab.run(in, out, first, rows);
  });
}

}  // namespace epsball
