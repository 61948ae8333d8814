// JSMA's pair of features.
#include "attacks/saliency_row.h"
#include "row.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

struct SaliencyRow {
  const SaliencyRows& a;
  Index at;  // where the row begins
  float sign;

  SaliencyRow(const SaliencyRows& rows, Index r) : a(rows), at(r * rows.ld), sign(rows.increase ? 1.0f : -1.0f) {}

  Vec target(Index i, Index n) const { return load(a.target + at + i, n) * sign; }
  Vec others(Index i, Index n) const { return load(a.others + at + i, n) * sign; }
  Mask may_move(Index i, Index n) const {
    return has_room(a, load(a.x + at + i, n), load(a.lo + at + i, n), load(a.hi + at + i, n));
  }
};

struct Partner {
  float score = 0.0f;  // 0: none
  Index q = 0;
};

// The best q > p; the first of equals.
Partner best_partner(const SaliencyRow& r, Index p) {
  const float tp = r.a.target[r.at + p] * r.sign, op = r.a.others[r.at + p] * r.sign;
  Vec scores = {};
  IVec places = {};
  for_lanes(r.a.features - p - 1, [&](Index i, Index n) {
    const Index q = p + 1 + i;
    const Vec up = r.target(q, n) + tp, down = r.others(q, n) + op;
    const Vec score = select((up > 0.0f) & (down < 0.0f) & r.may_move(q, n), -(up * down), Vec{});
    const Mask better = score > scores;
    places = select(better, IVec{} + static_cast<std::int32_t>(q), places);
    scores = select(better, score, scores);
  });
  float score[kLanes];
  std::int32_t place[kLanes];
  store(score, scores);
  store(place, places, kLanes);
  Partner best;
  for (Index j = 0; j < kLanes; ++j) {
    const Index q = place[j] + j;
    if (score[j] > best.score || (score[j] == best.score && score[j] > 0.0f && q < best.q)) best = {score[j], q};
  }
  return best;
}

// With the largest target and the smallest others that any partner has, no pair of p scores more: most features p are
// passed over without a look at their partners.
bool saliency_row(const SaliencyRow& r) {
  const Index features = r.a.features;
  const float none = __builtin_inff();
  Vec tops = splat<Vec>(-none), bottoms = splat<Vec>(none);
  for_lanes(features, [&](Index i, Index n) {
    const Mask may = r.may_move(i, n);
    tops = max(tops, select(may, r.target(i, n), splat<Vec>(-none)));
    bottoms = min(bottoms, select(may, r.others(i, n), splat<Vec>(none)));
  });
  const float top = largest(tops), bottom = -largest(-bottoms);
  const auto most = [&](Index p) {
    const float up = r.a.target[r.at + p] * r.sign + top, down = r.a.others[r.at + p] * r.sign + bottom;
    const bool may = has_room(r.a, r.a.x[r.at + p], r.a.lo[r.at + p], r.a.hi[r.at + p]);
    return may && up > 0.0f && down < 0.0f ? -(up * down) : 0.0f;
  };
  Index promising = 0, first = 0;
  for (Index p = 1; p < features; ++p)
    if (most(p) > most(promising)) promising = p;
  // What the most promising feature reaches need not be looked for below.
  const float reached = most(promising) > 0.0f ? best_partner(r, promising).score : 0.0f;
  Partner best{reached > 0.0f ? next_down(reached) : 0.0f, 0};
  bool found = false;
  for (Index p = 0; p < features; ++p) {
    if (!(most(p) > best.score)) continue;
    const Partner other = best_partner(r, p);
    if (!(other.score > best.score)) continue;
    found = true;
    best = other;
    first = p;
  }
  if (!found) return false;
  const Index pair[] = {first, best.q};
  for (const Index i : pair) {
    float &x = r.a.x[r.at + i], &lo = r.a.lo[r.at + i], &hi = r.a.hi[r.at + i];
    x = clip(x + r.a.theta * r.sign, lo, hi);
    if (!r.a.again) lo = hi = x;
  }
  return true;
}

void saliency(Stream, Index rows, const SaliencyRows& a) {
  for (Index r = 0; r < rows; ++r) {
    const bool found = saliency_row(SaliencyRow(a, r));
    a.moving[r] |= !is_zero(a.target + r * a.ld, a.features) || !is_zero(a.others + r * a.ld, a.features);
    a.done[r] |= !found && a.moving[r];
  }
}

}  // namespace

void add_saliency(Kernels& k) { k.saliency = saliency; }

}  // namespace epsball::EPSBALL_ISA
