// JSMA on one slab at a time. Passes are whole ones, although two features change: two of three go backward.
#include "attacks/jsma.h"

#include "attacks/planes_row.h"
#include "attacks/saliency_row.h"

namespace epsball {

JsmaSlab::JsmaSlab(const Target& target, const JsmaSettings& settings, Worker& worker)
    : SlabAttack(target, settings, worker), s_(settings) {
  target_ = worker.arena.take_rows(worker.slab_rows, features_);
  others_ = worker.arena.take_rows(worker.slab_rows, features_);
  wanted_ = moved<std::int32_t>();
}

// Untargeted, the class that comes next at x.
void JsmaSlab::choose_targets() {
  if (s_.targeted)
    k_.copy(stream(), wanted_, judge_, active_ * static_cast<Index>(sizeof(std::int32_t)));
  else
    k_.rank_rivals(stream(), active_, {classes_, 1, logits_.data, logits_.ld, judge_, wanted_});
}

void JsmaSlab::differentiate(bool target_only, Rows gradient) {
  const Rows dlogits = pass_->dlogits();
  LogitPair pair;
  pair.classes = classes_;
  pair.labels = wanted_;
  pair.label_only = target_only;
  pair.dlogits = dlogits.data;
  pair.ld = dlogits.ld;
  k_.logit_pair(stream(), active_, pair);
  pass_->backward(active_, x_, gradient, nullptr);
}

// The others' gradient as the target's reversed: the map is then the square of the target's rise.
void JsmaSlab::oppose() {
  k_.combine(stream(), sum_of({{target_.data, target_.ld, nullptr, -1.0f}}, active_, features_, others_));
}

void JsmaSlab::move() {
  differentiate(true, target_);
  if (s_.others)
    differentiate(false, others_);
  else
    oppose();
  SaliencyRows a;
  a.features = features_;
  a.ld = x_.ld;
  a.target = target_.data;
  a.others = others_.data;
  a.increase = s_.increase;
  a.theta = s_.theta;
  a.x = x_.data;
  a.lo = lo_.data;
  a.hi = hi_.data;
  a.moving = moving_;
  a.done = done_;
  a.again = s_.again;
  k_.saliency(stream(), active_, a);
}

void JsmaSlab::attack() {
  start_at_inputs();
  for (int step = 0; active_ > 0; ++step) {
    worker_.interruption.check();
    const bool first = step == 0, last = step == s_.steps;
    once(first || last ? -1 : 0, [&] {
      evaluate(false);
      track(step);
      keep_improved();
      if (first) choose_targets();
      if (last) return;
      move();
      drop_solved();
    });
    if (last) return;
  }
}

}  // namespace epsball
