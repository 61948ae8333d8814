// Planes of the rival classes, one backward pass for each.
#include "attacks/planes.h"

#include <algorithm>

#include "attacks/planes_row.h"

namespace epsball {

Index PlaneAttack::rivals_of(const Target& target, Index wanted) {
  const Index all = target.classes() == 1 ? 1 : target.classes() - 1;
  return wanted > 0 ? std::min(wanted, all) : all;
}

PlaneAttack::PlaneAttack(const Target& target, const AttackSettings& settings, Worker& worker, Index rivals)
    : SlabAttack(target, settings, worker), rivals_count_(rivals), ranked_(moved<std::int32_t>(rivals)) {
  gradient_ = worker.arena.take_rows(worker.slab_rows, features_);
  normal_ = worker.arena.take_rows(worker.slab_rows, features_);
  slope_ = worker.arena.take<float>(worker.slab_rows);
  value_ = worker.arena.take<float>(worker.slab_rows);
  away_ = worker.arena.take<float>(worker.slab_rows);
}

void PlaneAttack::rank_rivals() {
  k_.rank_rivals(stream(), active_, {classes_, rivals_count_, logits_.data, logits_.ld, judge_, ranked_});
}

void PlaneAttack::find_plane(Index first, Index count, float beyond) {
  const Rows dlogits = pass_->dlogits();
  for (Index i = first; i < first + count; ++i) {
    LogitPair pair{classes_, judge_, ranked_ + i, rivals_count_};
    pair.dlogits = dlogits.data;
    pair.ld = dlogits.ld;
    k_.logit_pair(stream(), active_, pair);
    pass_->backward(active_, x_, gradient_, nullptr);
    slope(gradient_, slope_);
    NearestPlane plane{classes_,      logits_.data, logits_.ld, judge_, ranked_ + i,
                       rivals_count_, slope_,       i == first, beyond};
    plane.away = away_;
    plane.value = value_;
    plane.moving = moving_;
    plane.nearer = improved_;
    k_.nearest_plane(stream(), active_, plane);
    k_.copy_rows(stream(), active_, features_, gradient_.data, gradient_.ld, normal_.data, normal_.ld, nullptr,
                 improved_);
  }
}

}  // namespace epsball
