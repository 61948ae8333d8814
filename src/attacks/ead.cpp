// EAD on one slab at a time.
#include "attacks/ead.h"

#include <algorithm>

namespace epsball {
namespace {

constexpr int kLeast = 20;  // steps between two looks at a search's progress

}  // namespace

EadSlab::EadSlab(const Target& target, const SearchSettings& settings, Worker& worker)
    : SearchAttack(target, settings, worker) {
  y_ = moved_rows(features_);
  z_ = moved_rows(features_);
  gained_ = moved<std::uint8_t>();
  length_ = worker.arena.take<float>(worker.slab_rows);
  sparsity_ = worker.arena.take<float>(worker.slab_rows);
}

void EadSlab::move() {
  k_.copy_rows(stream(), active_, features_, y_.data, y_.ld, x_.data, x_.ld, nullptr, nullptr);
  evaluate(true);
  SearchRows weigh = searched(distance_);
  weigh.only_push = true;
  k_.search(stream(), active_, weigh);
  pass_->backward(active_, x_, gradient_, nullptr);
  Shrinkage a;
  a.features = features_;
  a.ld = x_.ld;
  a.x0 = x0_.data;
  a.lo = lo_.data;
  a.hi = hi_.data;
  a.gradient = gradient_.data;
  a.push = push_;
  a.step = step_;
  a.restart = restart_;
  a.steps = s_.steps;
  a.rate = s_.rate;
  a.beta = s_.beta;
  a.y = y_.data;
  a.z = z_.data;
  a.moving = moving_;
  k_.shrink(stream(), active_, a);
}

void EadSlab::judge(Index column) {
  k_.copy_rows(stream(), active_, features_, z_.data, z_.ld, x_.data, x_.ld, nullptr, nullptr);
  evaluate(false);
  track(column, 2);
  keep_improved();
  k_.row_norms(stream(), {Norm::l2, active_, features_, x_.data, x0_.data, x_.ld, length_});
  k_.row_norms(stream(), {Norm::l1, active_, features_, x_.data, x0_.data, x_.ld, sparsity_});
  SearchRows search = searched(length_);
  search.sparsity = sparsity_;
  search.every = std::max(kLeast, s_.steps / 5);
  search.improved = improved_;
  search.gained = gained_;
  k_.search(stream(), active_, search);
}

void EadSlab::attack() {
  start_at_inputs();
  evaluate(false);
  track(0);
  keep_improved();
  drop_solved();
  for (const Rows& point : {y_, z_})
    k_.copy_rows(stream(), active_, features_, x0_.data, x0_.ld, point.data, point.ld, nullptr, nullptr);
  begin_searches();
  for (Index column = 1; active_ > 0 && column < iterates(s_); ++column) {
    worker_.interruption.check();
    once(0, [&] {
      move();
      judge(column);
      drop_solved();
    });
  }
}

}  // namespace epsball
