// HopSkipJump (Chen et al. 2020) on one slab at a time.
#include "attacks/hop_skip_jump.h"

#include <algorithm>
#include <cmath>

namespace epsball {
namespace {

// Of the paper's binary search, which ends at d^(-3/2) (L-infinity: d^-2) of the segment; in few dimensions that is
// coarse, and floats do not tell more than 24 apart.
int cuts_of(Norm norm, Index features) {
  const double bits = std::log2(static_cast<double>(features)) * (norm == Norm::linf ? 2.0 : 1.5);
  return static_cast<int>(std::clamp(std::ceil(bits), 10.0, 24.0));
}

}  // namespace

HopSkipJumpSlab::HopSkipJumpSlab(const Target& target, const HopSkipJumpSettings& settings, Worker& worker)
    : DecisionAttack(target, settings, worker), s_(settings) {
  Arena& arena = worker.arena;
  const Index rows = worker.slab_rows;
  direction_ = arena.take_rows(rows, features_);
  total_ = arena.take_rows(rows, features_);
  samples_ = arena.take_rows(capacity_, features_);
  for (float** each : {&sign_, &asked_, &sum_, &count_, &weight_, &size_}) *each = arena.take<float>(rows);
  leaping_ = arena.take<std::uint8_t>(rows);
}

// Samples lie on a sphere around the point, whose radius follows from how far the point lay from x0.
void HopSkipJumpSlab::draw_samples(int step, Index blocks) {
  const bool first = step == 0 && s_.first_delta > 0.0f;
  for (Index b = 0; b < blocks; ++b) {
    draw_direction();
    Term displacement{noise_.data, noise_.ld, nullptr, s_.first_delta, length_};
    if (!first) displacement.by = before_, displacement.times = 1.0f / static_cast<float>(features_);
    combine({{point_.data, point_.ld}, displacement}, {samples_.data + b * active_ * samples_.ld, samples_.ld});
  }
}

void HopSkipJumpSlab::count_samples(Index blocks) {
  for (Index b = 0; b < blocks; ++b) {
    const Index first = b * active_;
    const float* sample = samples_.data + first * samples_.ld;
    k_.decision_sample(stream(), active_, {unasked_ + first, adversarial_ + first, sign_, asked_, sum_, count_});
    add({{direction_.data, direction_.ld}, {sample, samples_.ld, sign_}, {point_.data, point_.ld, sign_, -1.0f}},
        direction_);
    add({{total_.data, total_.ld}, {sample, samples_.ld, asked_}, {point_.data, point_.ld, asked_, -1.0f}}, total_);
  }
}

// The boundary's normal: the mean of the displacements, each signed by its sample's label less the labels' mean.
void HopSkipJumpSlab::estimate(int step) {
  zero(direction_);
  zero(total_);
  fill_floats(sum_, 0.0f);
  fill_floats(count_, 0.0f);
  const double wanted = std::min(s_.init_evals * std::sqrt(step + 1.0), static_cast<double>(s_.max_evals));
  for (Index left = static_cast<Index>(wanted); left > 0;) {
    worker_.interruption.check();
    const Index blocks = std::min<Index>(blocks_at_once(), left);
    draw_samples(step, blocks);
    if (!ask(samples_, blocks, nullptr)) break;
    count_samples(blocks);
    left -= blocks;
  }
  k_.decision_baseline(stream(), active_, {sum_, count_, weight_});
  add({{direction_.data, direction_.ld}, {total_.data, total_.ld, weight_}}, direction_);
}

// Shorter and shorter leaps along the direction, until one lands on an adversarial point.
void HopSkipJumpSlab::leap(int step) {
  constexpr int kHalvings = 24;
  norms(point_, x0_.data, distance_);
  LeapRows leap{nullptr, adversarial_, distance_, 1.0f / std::sqrt(static_cast<float>(step + 1)), size_, leaping_};
  k_.decision_leap(stream(), active_, leap);
  leap.unasked = unasked_;
  for (int i = 0; i < kHalvings; ++i) {
    worker_.interruption.check();
    copy_where(point_, x_, nullptr);
    k_.step(stream(), {ball(radius_), direction_.data, direction_.ld, size_, nullptr});
    if (!ask(x_, 1, leaping_)) break;
    copy_where(x_, point_, adversarial_);  // where the next leaps start, which nobody asks about any more
    k_.decision_leap(stream(), active_, leap);
  }
}

void HopSkipJumpSlab::attack() {
  const int cuts = cuts_of(s_.norm, features_);
  begin();
  keep_nearest(0);
  bisect(cuts);
  for (int step = 0;; ++step) {
    keep_nearest(step);
    if (step == s_.steps || active_ == 0) return;
    estimate(step);
    leap(step);
    bisect(cuts);
  }
}

}  // namespace epsball
