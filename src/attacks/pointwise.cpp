// Pointwise (Schott et al. 2019) on one slab at a time.
#include "attacks/pointwise.h"

#include <algorithm>

namespace epsball {
namespace {

constexpr int kLook = 64;  // rounds between looks at what has been found

}  // namespace

PointwiseSlab::PointwiseSlab(const Target& target, const PointwiseSettings& settings, Worker& worker)
    : DecisionAttack(target, settings, worker), s_(settings), seen_(static_cast<std::size_t>(worker.slab_rows)) {
  order_ = moved<std::int32_t>(features_);
  state_ = moved<PointwiseState>();
  busy_ = moved<std::uint8_t>();
}

void PointwiseSlab::decide(bool first) {
  PointwiseRows a;
  a.features = features_;
  a.ld = x_.ld;
  a.x0 = x0_.data;
  a.point = point_.data;
  a.x = x_.data;
  a.unasked = first ? nullptr : unasked_;
  a.adversarial = adversarial_;
  a.ids = ids_;
  a.seed = s_.seed;
  a.passes = s_.steps;
  a.refine = s_.refine;
  a.order = order_;
  a.state = state_;
  a.busy = busy_;
  k_.pointwise(stream(), active_, a);
}

// A device's answers do not say whether anything was asked: now and then the host looks.
bool PointwiseSlab::any_busy(int round) {
  if (!k_.device || round % kLook != 0) return true;
  k_.copy(stream(), seen_.data(), busy_, active_);
  k_.device->finish(stream());
  return std::any_of(seen_.begin(), seen_.begin() + active_, [](std::uint8_t busy) { return busy != 0; });
}

void PointwiseSlab::attack() {
  begin();
  keep_nearest(0);
  if (active_ == 0) return;
  k_.fill(stream(), state_, 0, active_ * static_cast<Index>(sizeof(PointwiseState)));
  k_.fill(stream(), busy_, 0, active_);
  copy_where(point_, x_, nullptr);
  decide(true);
  for (int round = 0; any_busy(round) && ask(x_, 1, busy_); ++round) {
    worker_.interruption.check();
    decide(false);
    if (round % kLook == 0) note_nearest(1);  // what is left if the next answer is an exception
  }
  keep_nearest(1);
}

}  // namespace epsball
