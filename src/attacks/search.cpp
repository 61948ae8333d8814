// The state of every row's search.
#include "attacks/search.h"

#include <limits>

namespace epsball {

SearchAttack::SearchAttack(const Target& target, const SearchSettings& settings, Worker& worker)
    : SlabAttack(target, settings, worker), s_(settings) {
  gradient_ = worker.arena.take_rows(worker.slab_rows, features_);
  constant_ = moved<float>();
  lower_ = moved<float>();
  upper_ = moved<float>();
  before_ = moved<float>();
  push_ = moved<float>();
  power1_ = moved<float>();
  power2_ = moved<float>();
  step_ = moved<std::int32_t>();
  search_ = moved<std::int32_t>();
  found_ = moved<std::uint8_t>();
  restart_ = moved<std::uint8_t>();
}

void SearchAttack::begin_searches() {
  fill_floats(constant_, s_.constant);
  fill_floats(lower_, 0.0f);
  fill_floats(upper_, 1e10f);
  fill_floats(before_, std::numeric_limits<float>::infinity());
  fill_floats(power1_, 1.0f);
  fill_floats(power2_, 1.0f);
  fill_floats(push_, 0.0f);
  k_.fill(stream(), step_, 0, active_ * static_cast<Index>(sizeof(std::int32_t)));
  k_.fill(stream(), search_, 0, active_ * static_cast<Index>(sizeof(std::int32_t)));
  k_.fill(stream(), found_, 0, active_);
  k_.fill(stream(), restart_, 1, active_);
}

SearchRows SearchAttack::searched(const float* distance) const {
  SearchRows r;
  r.loss = loss_;
  r.distance = distance;
  r.predicted = predicted_;
  r.labels = judge_;
  r.targeted = s_.targeted;
  r.abort_early = s_.abort_early;
  r.confidence = s_.confidence;
  r.beta = s_.beta;
  r.steps = s_.steps;
  r.searches = s_.searches;
  r.constant = constant_;
  r.lower = lower_;
  r.upper = upper_;
  r.before = before_;
  r.step = step_;
  r.search = search_;
  r.found = found_;
  r.restart = restart_;
  r.push = push_;
  r.power1 = power1_;
  r.power2 = power2_;
  r.done = done_;
  return r;
}

}  // namespace epsball
