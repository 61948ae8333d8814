// Losses with their logit gradients and predictions, one row per lane.
#include "losses/confidence.h"
#include "losses/crammer_singer.h"
#include "losses/cross_entropy.h"
#include "losses/dlr.h"
#include "losses/hinge.h"
#include "losses/jitter.h"
#include "losses/logit.h"
#include "losses/margin.h"
#include "losses/pair.h"
#include "losses/squared_error.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

// Rows row .. row + n - 1, one per lane: a LossRow. Logits of few classes and their derivatives are turned once, as
// losses come back to them again and again.
struct LaneRows {
  static constexpr Index kFew = 16;
  const LossRows& a;
  const Index row, n;
  const bool few;
  IVec label, rival;
  Vec logits[kFew];
  mutable Vec dlogits[kFew];

  LaneRows(const LossRows& args, Index first, Index count)
      : a(args), row(first), n(count), few(a.classes <= kFew), label{}, rival{} {
    if (a.labels) label = load(a.labels + row, n);
    if (a.rivals) rival = load(a.rivals + row, n);
    for (Index j = 0; few && j < a.classes; j += kLanes) {
      Vec square[kLanes];
      for (Index i = 0; i < kLanes; ++i) square[i] = i < n ? load(a.logits + (row + i) * a.ld + j, columns(j)) : Vec{};
      transpose(square);
      for (Index i = 0; i < columns(j); ++i) logits[j + i] = square[i] * a.sharpness;
    }
  }
  // Derivatives of few classes go where they belong.
  void store_derivatives() const {
    for (Index j = 0; few && j < a.classes; j += kLanes) {
      Vec square[kLanes] = {};
      for (Index i = 0; i < columns(j); ++i) square[i] = dlogits[j + i];
      transpose(square);
      for (Index i = 0; i < n; ++i) store(a.dlogits + (row + i) * a.dlogits_ld + j, square[i], columns(j));
    }
  }
  Index columns(Index j) const { return a.classes - j < kLanes ? a.classes - j : kLanes; }
  bool hard() const { return a.labels != nullptr; }
  Vec z(Index j) const { return few ? logits[j] : gather(a.logits + row * a.ld + j, a.ld, n) * a.sharpness; }
  Mask is_label(Index j) const { return label == static_cast<std::int32_t>(j); }
  Mask is_rival(Index j) const { return rival == static_cast<std::int32_t>(j); }
  Vec target(Index j) const {
    if (!hard()) return gather(a.targets + row * a.targets_ld + j, a.targets_ld, n);
    if (a.classes == 1) return to_float(label);
    return select(is_label(j), splat<Vec>(1.0f), Vec{});
  }
  void dz(Index j, Vec v) const {
    if (few)
      dlogits[j] = v;
    else
      scatter(a.dlogits + row * a.dlogits_ld + j, a.dlogits_ld, v, n);
  }
  Vec get_dz(Index j) const { return few ? dlogits[j] : gather(a.dlogits + row * a.dlogits_ld + j, a.dlogits_ld, n); }
  Vec noise(Index j) const {
    return a.noise ? gather(a.noise + row * a.noise_ld + j, a.noise_ld, n) * a.noise_size : Vec{};
  }
  bool sized() const { return a.log_size != nullptr; }
  void log_size(Vec v) const { store(a.log_size + row, v, n); }
};

Vec value(const LaneRows& rows) {
  const LossRows& a = rows.a;
  const bool gradient = a.dlogits != nullptr;
  const float scale = a.scale * a.sharpness;
  switch (a.kind) {
    case Loss::cross_entropy:
      return cross_entropy<Vec>(rows, a.classes, gradient, a.unit, scale);
    case Loss::margin:
      return margin<Vec>(rows, a.classes, gradient, scale);
    case Loss::squared_error:
      return squared_error<Vec>(rows, a.classes, gradient, a.unit, scale);
    case Loss::confidence:
      return confidence<Vec>(rows, a.classes, gradient, a.unit, scale);
    case Loss::hinge:
      return hinge<Vec>(rows, a.classes, gradient, scale);
    case Loss::crammer_singer:
      return crammer_singer<Vec>(rows, a.classes, gradient, scale);
    case Loss::logit:
      return logit<Vec>(rows, a.classes, gradient, scale);
    case Loss::dlr:
      return dlr<Vec>(rows, a.classes, gradient, a.unit, scale);
    case Loss::dlr_targeted:
      return dlr_targeted<Vec>(rows, a.classes, gradient, a.unit, scale);
    case Loss::jitter:
      return jitter<Vec>(rows, a.classes, a.stretch, gradient, a.unit, scale);
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

Vec weighted(const LaneRows& rows, Vec value) {
  const LossRows& a = rows.a;
  if (!a.weights) return value;
  const Vec weight = load(a.weights + rows.row, rows.n);
  for (Index j = 0; a.dlogits && j < a.classes; ++j) rows.dz(j, rows.get_dz(j) * weight);
  return value * weight;
}

void loss(Stream, const LossRows& a) {
  for_lanes(a.rows, [&](Index row, Index n) {
    const LaneRows rows(a, row, n);
    Vec poison;
    const IVec predicted = predict(rows, poison);
    store(a.predicted + row, predicted, n);
    if (rows.sized()) rows.log_size(Vec{});
    store(a.loss + row, weighted(rows, value(rows)) + poison, n);
    if (a.dlogits) rows.store_derivatives();
  });
}

// A pair of rows per lane, as src/losses/pair.h asks of it.
struct LanePairs {
  const PairRows& p;
  Index row, n;
  bool two;  // one logit that plays two classes
  IVec label;

  LanePairs(const PairRows& args, Index first, Index count)
      : p(args), row(first), n(count), two(plays_two_classes(args.kind, args.classes)), label{} {
    if (p.labels) label = load(p.labels + row, n);
  }
  Vec logit(const float* z, Index j) const {
    if (two) return j == 0 ? Vec{} : gather(z + row * p.ld, p.ld, n);
    return gather(z + row * p.ld + j, p.ld, n);
  }
  void add(float* d, Index j, Vec v) const {
    if (two && j == 0) return;
    float* const at = d + row * p.d_ld + (two ? 0 : j);
    scatter(at, p.d_ld, gather(at, p.d_ld, n) + v, n);
  }
  Vec a(Index j) const { return logit(p.a, j); }
  Vec b(Index j) const { return logit(p.b, j); }
  Mask is_label(Index j) const { return label == static_cast<std::int32_t>(j); }
  void add_a(Index j, Vec v) const { add(p.da, j, v); }
  void add_b(Index j, Vec v) const { add(p.db, j, v); }
};

void pairs(Stream, const PairRows& a) {
  for_lanes(a.rows, [&](Index row, Index n) {
    const LanePairs rows(a, row, n);
    store(a.loss + row, pair_loss<Vec>(rows, rows.two ? 2 : a.classes, a.kind, a.coupling, a.scale), n);
  });
}

void softmax(Stream, Index rows, Index classes, const float* logits, Index ld, float* p, Index p_ld) {
  for_lanes(rows, [&](Index row, Index n) {
    const auto z = [&](Index j) { return gather(logits + row * ld + j, ld, n); };
    if (classes == 1) return scatter(p + row * p_ld, p_ld, sigmoid(z(0)), n);
    const SoftRow<Vec> soft = soft_row<Vec>(classes, z);
    for (Index j = 0; j < classes; ++j) scatter(p + row * p_ld + j, p_ld, exp(soft.log_p(z(j))), n);
  });
}

}  // namespace

void add_loss(Kernels& k) {
  k.loss = loss;
  k.pair_loss = pairs;
  k.softmax = softmax;
}

}  // namespace epsball::EPSBALL_ISA
