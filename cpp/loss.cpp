// Losses with their logit gradients and predictions, one row per lane.
#include "losses/confidence.h"
#include "losses/crammer_singer.h"
#include "losses/cross_entropy.h"
#include "losses/dlr.h"
#include "losses/hinge.h"
#include "losses/margin.h"
#include "losses/squared_error.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

// Rows row .. row + n - 1, one per lane.
struct LaneRows {
  const LossRows& a;
  Index row, n;
  IVec label, rival;

  LaneRows(const LossRows& args, Index first, Index count) : a(args), row(first), n(count), label{}, rival{} {
    if (a.labels) label = load(a.labels + row, n);
    if (a.rivals) rival = load(a.rivals + row, n);
  }
  bool hard() const { return a.labels != nullptr; }
  Vec z(Index j) const { return gather(a.logits + row * a.ld + j, a.ld, n); }
  Mask is_label(Index j) const { return label == static_cast<std::int32_t>(j); }
  Mask is_rival(Index j) const { return rival == static_cast<std::int32_t>(j); }
  Vec target(Index j) const {
    if (!hard()) return gather(a.targets + row * a.targets_ld + j, a.targets_ld, n);
    if (a.classes == 1) return to_float(label);
    return select(is_label(j), splat<Vec>(1.0f), Vec{});
  }
  void dz(Index j, Vec v) const { scatter(a.dlogits + row * a.dlogits_ld + j, a.dlogits_ld, v, n); }
  Vec get_dz(Index j) const { return gather(a.dlogits + row * a.dlogits_ld + j, a.dlogits_ld, n); }
};

Vec value(const LaneRows& rows) {
  const LossRows& a = rows.a;
  const bool gradient = a.dlogits != nullptr;
  switch (a.kind) {
    case Loss::cross_entropy:
      return cross_entropy<Vec>(rows, a.classes, gradient, a.unit, a.scale);
    case Loss::margin:
      return margin<Vec>(rows, a.classes, gradient, a.scale);
    case Loss::squared_error:
      return squared_error<Vec>(rows, a.classes, gradient, a.unit, a.scale);
    case Loss::confidence:
      return confidence<Vec>(rows, a.classes, gradient, a.unit, a.scale);
    case Loss::hinge:
      return hinge<Vec>(rows, a.classes, gradient, a.scale);
    case Loss::crammer_singer:
      return crammer_singer<Vec>(rows, a.classes, gradient, a.scale);
    case Loss::dlr:
      return dlr<Vec>(rows, a.classes, gradient, a.unit, a.scale);
    case Loss::dlr_targeted:
      return dlr_targeted<Vec>(rows, a.classes, gradient, a.unit, a.scale);
  }
  return Vec{};
}

// The class of the largest logit, the first of equals; one class: logit > 0. `poison` is 0, or NaN if a logit is not
// finite, so that no later comparison hides it.
IVec predict(const LaneRows& rows, Vec& poison) {
  const Index classes = rows.a.classes;
  if (classes == 1) {
    const Vec z = rows.z(0);
    poison = z * 0.0f;
    return select(z > 0.0f, IVec{} + 1, IVec{});
  }
  Vec best = splat<Vec>(-__builtin_inff());
  IVec at = {};
  poison = Vec{};
  for (Index j = 0; j < classes; ++j) {
    const Vec z = rows.z(j);
    at = select(z > best, IVec{} + static_cast<std::int32_t>(j), at);
    best = select(z > best, z, best);
    poison = poison + z * 0.0f;
  }
  return at;
}

void loss(Stream, const LossRows& a) {
  for_lanes(a.rows, [&](Index row, Index n) {
    const LaneRows rows(a, row, n);
    Vec poison;
    const IVec predicted = predict(rows, poison);
    store(a.predicted + row, predicted, n);
    store(a.loss + row, value(rows) + poison, n);
  });
}

}  // namespace

void add_loss(Kernels& k) { k.loss = loss; }

}  // namespace epsball::EPSBALL_ISA
