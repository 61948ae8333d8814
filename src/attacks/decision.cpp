// Questions to a model that answers with labels, in batches as large as they can be.
#include "attacks/decision.h"

#include <algorithm>
#include <numeric>

namespace epsball {
namespace {

// A single image is asked about in many points at once, as far as 16 MB hold them.
Index capacity_of(const Target& target, Index slab_rows) {
  if (target.kernels().device) return slab_rows;
  const Index most = std::clamp<Index>((Index{1} << 22) / padded(target.features()), 1, 256);
  return std::max(slab_rows, target.slab_rows() > 0 ? std::min(target.slab_rows(), most) : std::min<Index>(most, 64));
}

}  // namespace

DecisionAttack::DecisionAttack(const Target& target, const DecisionSettings& settings, Worker& worker)
    : SlabAttack(target, settings, worker),
      capacity_(capacity_of(target, worker.slab_rows)),
      s_(settings),
      wide_(capacity_ > worker.slab_rows ? target.open(worker.context, worker.arena, capacity_) : nullptr),
      numbers_(static_cast<std::size_t>(capacity_)) {
  Arena& arena = worker.arena;
  const Index rows = worker.slab_rows;
  point_ = moved_rows(features_);
  waiting_ = moved<std::uint8_t>();
  before_ = moved<float>();
  noise_ = arena.take_rows(rows, features_);
  near_ = arena.take_rows(rows, features_);
  sent_ = arena.take_rows(capacity_, features_);
  for (float** each : {&length_, &low_, &high_, &middle_, &rest_, &radius_of_cut_}) *each = arena.take<float>(rows);
  sent_loss_ = arena.take<float>(capacity_);
  draw_ = arena.take<std::uint32_t>(1);
  number_ = arena.take<std::int32_t>(capacity_);
  sent_predicted_ = arena.take<std::int32_t>(capacity_);
  no_label_ = arena.take<std::int32_t>(capacity_);
  unasked_ = arena.take<std::uint8_t>(capacity_);
  adversarial_ = arena.take<std::uint8_t>(capacity_);
  std::iota(numbers_.begin(), numbers_.end(), 0);
}

// ---- rows ----

void DecisionAttack::add(std::initializer_list<Term> terms, Rows out) const {
  k_.combine(stream(), sum_of(terms, active_, features_, out));
}

void DecisionAttack::copy_where(Rows from, Rows to, const std::uint8_t* keep) const {
  k_.copy_rows(stream(), active_, features_, from.data, from.ld, to.data, to.ld, nullptr, keep);
}

void DecisionAttack::zero(Rows rows) const {
  k_.fill(stream(), rows.data, 0, active_ * rows.ld * static_cast<Index>(sizeof(float)));
}

void DecisionAttack::norms(Rows x, const float* y, float* out) const {
  k_.row_norms(stream(), {s_.norm, active_, features_, x.data, y, x.ld, out});
}

void DecisionAttack::draw_direction() {
  constexpr std::uint32_t kDraws = (1u << 24) - 1;
  const std::uint32_t draw = draws_++ & kDraws;
  k_.put(stream(), draw_, &draw, sizeof draw);
  k_.noise(stream(), {Noise::normal, active_, features_, ids_, s_.seed, draw_, noise_.data, noise_.ld});
  k_.row_norms(stream(), {Norm::l2, active_, features_, noise_.data, nullptr, noise_.ld, length_, lo_.data, hi_.data});
}

// ---- questions ----

// Only what is asked is sent, which matters where an answer costs something.
Rows DecisionAttack::gathered(Rows points, Index count, Index asked) {
  if (asked == count) return points;
  k_.copy_rows(stream(), count, features_, points.data, points.ld, sent_.data, sent_.ld, nullptr, nullptr);
  const RowBuffer buffer{sent_.data, sent_.ld * static_cast<Index>(sizeof(float))};
  k_.compact(stream(), count, unasked_, &buffer, 1);
  return sent_;
}

bool DecisionAttack::ask(Rows points, Index blocks, const std::uint8_t* waiting) {
  const Index count = blocks * active_;
  for (Index b = 0; b < blocks; ++b)
    k_.decision_ask(stream(), active_, {waiting, slot_, s_.queries, out_->queries + first_, unasked_ + b * active_});
  k_.fill(stream(), adversarial_, 0, count);
  Index asked = count;
  if (!k_.device) {  // where compact would change how many rows there are
    k_.copy(stream(), number_, numbers_.data(), count * static_cast<Index>(sizeof(std::int32_t)));
    const RowBuffer buffer{number_, sizeof(std::int32_t)};
    asked = k_.compact(stream(), count, unasked_, &buffer, 1);
    if (asked == 0) return false;
  }
  const Rows logits = (wide_ ? *wide_ : *pass_).forward(asked, gathered(points, count, asked));
  LossRows loss;
  loss.kind = Loss::margin;
  loss.rows = asked;
  loss.classes = classes_;
  loss.logits = logits.data;
  loss.ld = logits.ld;
  loss.labels = no_label_;
  loss.loss = sent_loss_;
  loss.predicted = sent_predicted_;
  k_.loss(stream(), loss);
  k_.decision_answer(stream(), asked,
                     {active_, k_.device ? nullptr : number_, sent_predicted_, sent_loss_, judge_, slot_, unasked_,
                      s_.targeted, adversarial_, out_->broken + first_});
  return true;
}

// ---- the first adversarial point ----

void DecisionAttack::judge_inputs() {
  evaluate(false);
  norms(x_, x0_.data, distance_);
  TrackBest t = tracked();
  t.fresh = true;
  k_.track_best(stream(), active_, t);
  keep_improved();
  drop_solved();
}

void DecisionAttack::begin() {
  draws_ = 0;
  k_.fill(stream(), no_label_, 0, capacity_ * static_cast<Index>(sizeof(std::int32_t)));
  k_.fill(stream(), waiting_, 1, active_);
  const bool given = in_->start.data != nullptr;
  if (given) k_.load_rows(stream(), in_->start, nullptr, first_, active_, point_.data, point_.ld);
  start_at_inputs();
  judge_inputs();
  const int tries = given ? 1 : s_.starts;
  for (int i = 0; i < tries && active_ > 0; ++i) {
    worker_.interruption.check();
    if (given)
      combine({{point_.data, point_.ld}}, x_);
    else
      k_.start(stream(), {ball(radius_), Start::box, ids_, s_.seed, static_cast<std::uint32_t>(i)});
    if (!ask(x_, 1, waiting_)) return;
    copy_where(x_, point_, adversarial_);
    k_.decision_begin(stream(), active_, {adversarial_, waiting_});
  }
}

// ---- the boundary ----

void DecisionAttack::bisect(int cuts) {
  if (active_ == 0) return;
  norms(point_, x0_.data, before_);
  copy_where(point_, near_, nullptr);
  CutRows cut{nullptr, adversarial_, before_, low_, high_, middle_, rest_, radius_of_cut_};
  k_.decision_cut(stream(), active_, cut);
  cut.unasked = unasked_;
  for (int i = 0; i < cuts; ++i) {
    worker_.interruption.check();
    if (s_.norm == Norm::linf) {
      copy_where(point_, x_, nullptr);
      k_.project(stream(), ball(radius_of_cut_));
    } else {
      combine({{point_.data, point_.ld, middle_}, {x0_.data, x0_.ld, rest_}}, x_);
    }
    if (!ask(x_, 1, nullptr)) break;
    copy_where(x_, near_, adversarial_);
    k_.decision_cut(stream(), active_, cut);
  }
  copy_where(near_, point_, nullptr);
}

void DecisionAttack::note_nearest(Index column) {
  norms(point_, x0_.data, distance_);
  NearestRows n{waiting_, slot_, distance_, out_->queries + first_, s_.queries, best_distance_};
  n.success = out_->success + first_;
  n.improved = improved_;
  n.done = done_;
  n.trace_ld = out_->trace_ld;
  n.trace = out_->trace ? out_->trace + first_ * out_->trace_ld + column : nullptr;
  k_.decision_nearest(stream(), active_, n);
  k_.copy_rows(stream(), active_, features_, point_.data, point_.ld, best_.data, best_.ld, slot_, improved_);
}

void DecisionAttack::keep_nearest(Index column) {
  if (active_ == 0) return;
  note_nearest(column);
  drop_solved();
}

}  // namespace epsball
