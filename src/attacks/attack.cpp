// A slab of rows under attack: loaded, judged, kept, compacted and stored alike for every attack.
#include "attacks/attack.h"

#include <numeric>

#include "attacks/planes_row.h"

namespace epsball {

SlabAttack::SlabAttack(const Target& target, const AttackSettings& settings, Worker& worker)
    : k_(target.kernels()),
      worker_(worker),
      pass_(target.open(worker.context, worker.arena, worker.slab_rows)),
      features_(target.features()),
      classes_(target.classes()),
      common_(settings),
      counting_(static_cast<std::size_t>(worker.slab_rows)),
      constants_(static_cast<std::size_t>(worker.slab_rows)) {
  const Index rows = worker.slab_rows;
  Arena& arena = worker.arena;
  x_ = moved_rows(features_);
  x0_ = moved_rows(features_);
  lo_ = moved_rows(features_);
  hi_ = moved_rows(features_);
  best_ = common_.keep_best ? arena.take_rows(rows, features_) : x_;
  targets_ = moved_rows(classes_);
  labels_ = moved<std::int32_t>();
  judge_ = moved<std::int32_t>();
  slot_ = moved<std::int32_t>();
  radius_ = moved<float>();
  start_radius_ = moved<float>();
  step_size_ = moved<float>();
  ids_ = moved<Index>();
  moving_ = moved<std::uint8_t>();
  if (common_.targets > 0) {
    clean_logits_ = moved_rows(classes_);
    rivals_ = moved<std::int32_t>();
  }
  predicted_ = arena.take<std::int32_t>(rows);
  loss_ = arena.take<float>(rows);
  improved_ = arena.take<std::uint8_t>(rows);
  done_ = arena.take<std::uint8_t>(rows);
  if (common_.minimum_norm) {
    distance_ = arena.take<float>(rows);
    best_distance_ = arena.take<float>(rows);
    lost_ = arena.take<std::uint8_t>(rows);
  }
  std::iota(counting_.begin(), counting_.end(), 0);
}

Index SlabAttack::floats_per_row(const Target& target) {
  return 5 * padded(target.features()) + target.floats_per_row();
}

Rows SlabAttack::moved_rows(Index n) {
  const Rows r = worker_.arena.take_rows(worker_.slab_rows, n);
  leaving_.push_back({r.data, r.ld * static_cast<Index>(sizeof(float))});
  return r;
}

void SlabAttack::move_up(const std::vector<RowBuffer>& buffers) {
  leaving_.insert(leaving_.end(), buffers.begin(), buffers.end());
}

void SlabAttack::load(Index rows) {
  const auto copy = [&]<class T>(T* to, const T* from) {
    if (from) k_.copy(stream(), to, from + first_, rows * static_cast<Index>(sizeof(T)));
  };
  active_ = rows;
  if (k_.device) k_.device->activate(stream(), rows);
  k_.load_rows(stream(), in_->x, nullptr, first_, rows, x0_.data, x0_.ld);
  if (in_->targets) {
    const float* from = in_->targets + first_ * classes_;
    k_.copy_rows(stream(), rows, classes_, from, classes_, targets_.data, targets_.ld, nullptr, nullptr);
  }
  copy(labels_, in_->labels);
  copy(judge_, in_->judge);
  copy(radius_, in_->radius);
  copy(start_radius_, in_->start_radius);
  copy(step_size_, in_->step_size);
  copy(ids_, in_->ids);
  k_.copy(stream(), slot_, counting_.data(), rows * static_cast<Index>(sizeof(std::int32_t)));
  k_.fill(stream(), moving_, 0, rows);
  // For L-infinity the ball is part of the box.
  const bool ball = common_.norm == Norm::linf && !common_.minimum_norm;
  const std::uint8_t* mask = in_->mask ? in_->mask + first_ * in_->mask_ld : nullptr;
  k_.limits(stream(), {rows, features_, x0_.data, x0_.ld, ball ? radius_ : nullptr, in_->box_lo, in_->box_hi, mask,
                       in_->mask_ld, lo_.data, hi_.data});
}

BallRows SlabAttack::ball(const float* radius) const {
  return {common_.norm, active_, features_, x_.data, x0_.data, lo_.data, hi_.data, x_.ld, radius};
}

void SlabAttack::start_at_inputs() {
  k_.copy_rows(stream(), active_, features_, x0_.data, x0_.ld, x_.data, x_.ld, nullptr, nullptr);
}

void SlabAttack::remember_logits() {
  const Rows logits = pass_->forward(active_, x0_);
  k_.copy_rows(stream(), active_, classes_, logits.data, logits.ld, clean_logits_.data, clean_logits_.ld, nullptr,
               nullptr);
}

void SlabAttack::aim(int rank) {
  k_.rank_rivals(stream(), active_, {classes_, 1, clean_logits_.data, clean_logits_.ld, judge_, rivals_, rank});
}

void SlabAttack::combine(std::initializer_list<Term> terms, Rows out) {
  CombineRows sum = sum_of(terms, active_, features_, out);
  sum.lo = lo_.data;
  sum.hi = hi_.data;
  sum.ld_limits = lo_.ld;
  k_.combine(stream(), sum);
}

void SlabAttack::fill_floats(float* values, float value) {
  std::fill(constants_.begin(), constants_.end(), value);
  k_.copy(stream(), values, constants_.data(), active_ * static_cast<Index>(sizeof(float)));
}

void SlabAttack::farthest_corner(Norm norm, float* out) {
  k_.farthest_corner(stream(), {norm, active_, features_, x0_.data, lo_.data, hi_.data, x0_.ld, out});
}

void SlabAttack::slope(Rows gradient, float* out) {
  const Norm dual = common_.norm == Norm::linf ? Norm::l1 : common_.norm == Norm::l2 ? Norm::l2 : Norm::linf;
  k_.row_norms(stream(), {dual, active_, features_, gradient.data, nullptr, gradient.ld, out, lo_.data, hi_.data});
}

LossRows SlabAttack::loss_rows() const {
  LossRows loss;
  loss.kind = common_.loss;
  loss.rows = active_;
  loss.classes = classes_;
  loss.labels = rivals_ && loss.kind != Loss::dlr_targeted ? rivals_ : in_->labels ? labels_ : nullptr;
  loss.rivals = rivals_;
  loss.targets = targets_.data;
  loss.targets_ld = targets_.ld;
  loss.scale = common_.descend ? -1.0f : 1.0f;
  loss.unit = common_.unit;
  loss.noise = logit_noise_.data;
  loss.noise_ld = logit_noise_.ld;
  loss.noise_size = common_.noise_size;
  loss.stretch = common_.stretch;
  loss.log_size = log_size_;
  loss.loss = loss_;
  loss.predicted = predicted_;
  return loss;
}

void SlabAttack::evaluate(bool gradient) { evaluate_logits(pass_->forward(active_, x_), gradient); }

void SlabAttack::evaluate_logits(Rows logits, bool gradient) {
  logits_ = logits;
  const Rows dlogits = pass_->dlogits();
  LossRows loss = loss_rows();
  loss.logits = logits_.data;
  loss.ld = logits_.ld;
  loss.dlogits = gradient ? dlogits.data : nullptr;
  loss.dlogits_ld = dlogits.ld;
  k_.loss(stream(), loss);
}

TrackBest SlabAttack::tracked() const {
  TrackBest t;
  t.loss = loss_;
  t.predicted = predicted_;
  t.labels = judge_;
  t.slot = slot_;
  t.moving = moving_;
  t.descend = common_.descend;
  t.targeted = common_.targeted;
  t.best_loss = out_->loss + first_;
  t.success = out_->success + first_;
  t.queries = out_->queries + first_;
  t.still = out_->zero_gradient + first_;
  t.broken = out_->broken + first_;
  t.improved = improved_;
  t.distance = distance_;
  t.best_distance = best_distance_;
  t.until_zero = common_.minimum_norm && !common_.early_stop;
  t.confidence = common_.confidence;
  t.done = done_;
  return t;
}

TrackBest SlabAttack::tracked(Index column, Index evaluations) const {
  TrackBest t = tracked();
  t.fresh = !common_.keep_best || column == 0;
  t.stepped = column > 0;
  t.evaluations = evaluations;
  t.trace_ld = out_->trace_ld;
  t.trace = out_->trace ? out_->trace + first_ * out_->trace_ld + column : nullptr;
  return t;
}

void SlabAttack::track(Index column, Index evaluations) {
  if (distance_) k_.row_norms(stream(), {common_.norm, active_, features_, x_.data, x0_.data, x_.ld, distance_});
  k_.track_best(stream(), active_, tracked(column, evaluations));
}

void SlabAttack::keep_improved() {
  if (!common_.keep_best) return;
  k_.copy_rows(stream(), active_, features_, x_.data, x_.ld, best_.data, best_.ld, slot_, improved_);
}

void SlabAttack::drop_solved() {
  if (!common_.early_stop && !common_.minimum_norm) return;
  active_ = k_.compact(stream(), active_, done_, leaving_.data(), static_cast<int>(leaving_.size()));
}

// The caller's dtype is not the engine's: what counts is what the model says of the stored points.
void SlabAttack::judge_stored(Index rows) {
  load(rows);
  k_.load_rows(stream(), out_->x_adv, nullptr, first_, rows, x_.data, x_.ld);
  evaluate(false);
  TrackBest t = tracked();
  t.fresh = true;
  t.confidence = 0.0f;
  t.still = nullptr;
  t.lost = lost_;
  k_.track_best(stream(), active_, t);
}

void SlabAttack::store(Index rows) {
  StoreRows a{common_.norm, rows,   features_, best_.data,    best_.ld,      in_->x,
              out_->x_adv,  first_, in_->eps,  in_->exact_lo, in_->exact_hi, out_->distance};
  a.outward = common_.minimum_norm;
  k_.store_rows(stream(), a);
}

void SlabAttack::run(const AttackInputs& in, const AttackOutputs& out, Index first, Index rows) {
  in_ = &in;
  out_ = &out;
  first_ = first;
  repeated_.clear();  // another slab has other rows
  k_.fill(stream(), out.broken + first, 0, rows);
  load(rows);
  if (common_.minimum_norm)  // what a row that fails returns
    k_.copy_rows(stream(), rows, features_, x0_.data, x0_.ld, best_.data, best_.ld, nullptr, nullptr);
  try {
    attack();
  } catch (...) {
    if (common_.keep_partial) store(rows);
    throw;
  }
  store(rows);
  if (!common_.judge || (!common_.judge_again && in.x.dtype == DType::float32)) return;
  judge_stored(rows);
  if (!common_.minimum_norm) return;
  // A point that rounding to the caller's dtype has brought back is no result; x itself is.
  k_.copy_rows(stream(), rows, features_, x0_.data, x0_.ld, best_.data, best_.ld, nullptr, lost_);
  store(rows);
  judge_stored(rows);
}

AttackInputs staged(Staging& staging, const AttackInputs& in, Index classes) {
  const Index rows = in.x.rows, features = in.x.features;
  AttackInputs here = in;
  here.x = staging.in(in.x);
  if (in.start.data) here.start = staging.in(in.start);
  here.labels = staging.in(in.labels, rows);
  here.targets = staging.in(in.targets, rows * classes);
  here.judge = staging.in(in.judge, rows);
  here.eps = staging.in(in.eps, rows);
  here.radius = staging.in(in.radius, rows);
  here.start_radius = staging.in(in.start_radius, rows);
  here.step_size = staging.in(in.step_size, rows);
  here.box_lo = staging.in(in.box_lo, features);
  here.box_hi = staging.in(in.box_hi, features);
  here.exact_lo = staging.in(in.exact_lo, features);
  here.exact_hi = staging.in(in.exact_hi, features);
  here.mask = staging.in(in.mask, in.mask_ld > 0 ? rows * in.mask_ld : features);
  here.ids = staging.in(in.ids, rows);
  return here;
}

AttackOutputs staged(Staging& staging, const AttackOutputs& out) {
  const Index rows = out.x_adv.rows;
  AttackOutputs here = out;
  here.x_adv = staging.out(out.x_adv);
  here.success = staging.update(out.success, rows);
  here.distance = staging.update(out.distance, rows);
  here.queries = staging.update(out.queries, rows);
  here.loss = staging.update(out.loss, rows);
  here.zero_gradient = staging.update(out.zero_gradient, rows);
  here.broken = staging.out(out.broken, rows);
  here.trace = staging.update(out.trace, rows * out.trace_ld);
  return here;
}

}  // namespace epsball
