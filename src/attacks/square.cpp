// Square (Andriushchenko et al. 2020) on one slab at a time.
#include "attacks/square.h"

#include <algorithm>
#include <cmath>

namespace epsball {
namespace {

// Rows one by one take their multiply-adds at some two thirds of the rate.
constexpr double kWorthRegions = 0.65;

// The part of the features that a square changes: it halves again and again.
double part_of(const SquareSettings& s, int square) {
  constexpr int kHalved[] = {10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000};
  const int before = s.from_x ? square - 1 : square, all = s.from_x ? s.queries - 2 : s.queries;
  const double at = s.rescale ? std::floor(before * 10000.0 / std::max(all, 1)) : before;
  double part = s.part;
  for (const int limit : kHalved)
    if (at > limit) part *= 0.5;
  return part;
}

// Windows are squares; images that are too low for one have wider ones, so that the part stays.
SquareDraw draw_of(const SquareSettings& s, int square) {
  const double pixels = part_of(s, square) * static_cast<double>(s.height * s.width);
  auto side = std::max<Index>(static_cast<Index>(std::nearbyint(std::sqrt(pixels))), s.norm == Norm::linf ? 1 : 3);
  if (s.norm != Norm::linf && side % 2 == 0) ++side;
  Index tall = std::min(side, s.height);
  const Index wide = std::min(side * side / tall, s.width);
  if (wide == s.width) tall = std::min(side * side / wide, s.height);
  return {static_cast<std::uint32_t>(square), static_cast<std::int32_t>(tall), static_cast<std::int32_t>(wide)};
}

}  // namespace

SquareSlab::SquareSlab(const Target& target, const SquareSettings& settings, Worker& worker)
    : SlabAttack(target, settings, worker),
      s_(settings),
      current_(moved_rows(features_)),
      draw_(worker.arena.take<SquareDraw>(1)),
      regions_(target.open_regions(worker.context, worker.arena, worker.slab_rows)),
      first_by_regions_(first_by_regions()) {
  if (regions_) move_up(regions_->buffers());
}

// The square from which on windows, as they only shrink, are so small that what they reach is computed sooner than all
// there is; no square: one that is never drawn.
int SquareSlab::first_by_regions() const {
  if (!regions_) return s_.queries;
  const int windows = s_.norm == Norm::linf ? 1 : 2;
  int first = 1, end = std::max(s_.queries, 1);
  while (first < end) {
    const int middle = first + (end - first) / 2;
    const SquareDraw draw = draw_of(s_, middle);
    if (regions_->share(windows, draw.tall, draw.wide) < kWorthRegions)
      end = middle;
    else
      first = middle + 1;
  }
  return first;
}

void SquareSlab::propose(bool first) {
  SquareRows a;
  a.norm = s_.norm;
  a.rows = active_;
  a.channels = s_.channels;
  a.height = s_.height;
  a.width = s_.width;
  a.x = current_.data;
  a.x0 = x0_.data;
  a.lo = lo_.data;
  a.hi = hi_.data;
  a.out = x_.data;
  a.ld = x_.ld;
  a.eps = radius_;
  a.ids = ids_;
  a.seed = s_.seed;
  a.draw = draw_;
  a.first = first;
  k_.square(stream(), a);
  if (s_.norm != Norm::linf) k_.project(stream(), ball(radius_));
}

void SquareSlab::attack() {
  for (int query = 0; query < s_.queries && active_ > 0; ++query) {
    worker_.interruption.check();
    const int square = query - s_.from_x;  // -1: x itself
    const SquareDraw draw = draw_of(s_, std::max(square, 0));
    k_.put(stream(), draw_, &draw, sizeof draw);
    const bool by_regions = square >= first_by_regions_;
    if (square == first_by_regions_) regions_->begin(active_, current_);
    once(square > 0 ? 0 : -1, [&] {
      square < 0 ? start_at_inputs() : propose(square == 0);
      by_regions ? evaluate_logits(regions_->forward(active_, x_, current_), false) : evaluate(false);
      track(query);
      keep_improved();
      k_.copy_rows(stream(), active_, features_, x_.data, x_.ld, current_.data, current_.ld, nullptr, improved_);
      if (by_regions) regions_->settle(active_, improved_);
      drop_solved();
    });
  }
}

}  // namespace epsball
