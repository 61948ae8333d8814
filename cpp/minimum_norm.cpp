// What minimum-norm attacks need beyond vectors: the nearest point of a plane within the box, the steps of Carlini and
// Wagner, of EAD and of L-BFGS, JSMA's pair, single features, and all that they decide per row.
#include "attacks/ddn_row.h"
#include "attacks/decision_row.h"
#include "attacks/fab_row.h"
#include "attacks/flip_row.h"
#include "attacks/fmn_row.h"
#include "attacks/lbfgs_row.h"
#include "attacks/newton_fool_row.h"
#include "attacks/planes_row.h"
#include "attacks/pointwise_row.h"
#include "attacks/saliency_row.h"
#include "attacks/search_row.h"
#include "attacks/tighten_row.h"
#include "project.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

template <class Rows>
void decide_rows(Stream, Index rows, const Rows& a) {
  for (Index r = 0; r < rows; ++r) decide(a, r);
}

double largest_of(DVec v) {
  double lanes[kLanes], top = 0.0;
  __builtin_memcpy(lanes, &v, sizeof(lanes));
  for (const double lane : lanes) top = lane > top ? lane : top;
  return top;
}

void row_reach(Stream, const ReachRows& a) {
  for (Index r = 0; r < a.rows; ++r) {
    DVec total = {};
    for_lanes(a.features, [&](Index i, Index n) {
      const Index at = r * a.ld + i;
      const DVec x = to_double(load(a.x + at, n));
      const DVec down = x - to_double(load(a.lo + at, n)), up = to_double(load(a.hi + at, n)) - x;
      const DVec d = up > down ? up : down;
      if (a.norm == Norm::linf) total = d > total ? d : total;
      if (a.norm == Norm::l2) total = total + d * d;
      if (a.norm == Norm::l1) total = total + d;
      if (a.norm == Norm::l0) total = total + (d > 0.0 ? DVec{} + 1.0 : DVec{});
    });
    const double norm = a.norm == Norm::linf ? largest_of(total) : sum(total);
    a.out[r] = static_cast<float>(a.norm == Norm::l2 ? __builtin_sqrt(norm) : norm);
  }
}

// ---- the nearest point of a plane ----

// One row of HyperplaneRows; `gap` is what the value must still rise.
struct PlaneRow {
  Norm norm;
  Index features;
  const float* x;
  const float* normal;
  const float* lo;
  const float* hi;
  float sign;
  double gap;

  PlaneRow(const HyperplaneRows& a, Index r)
      : norm(a.norm),
        features(a.features),
        x(a.x + r * a.ld),
        normal(a.normal + r * a.ld),
        lo(a.lo + r * a.ld),
        hi(a.hi + r * a.ld) {
    const float* at = a.at + r * a.ld;
    DVec rise = {};
    for_lanes(features, [&](Index i, Index n) {
      rise = rise + to_double(load(normal + i, n)) * (to_double(load(x + i, n)) - to_double(load(at + i, n)));
    });
    const double value = static_cast<double>(a.value[r]) + sum(rise);
    sign = value < 0.0 ? 1.0f : -1.0f;
    gap = value < 0.0 ? -value : value;
  }

  // |normal|, and how far x can move in the direction that closes the gap. Floats, in which comparisons are the table's
  // own vectors; what they add up to is summed in float64.
  struct Way {
    Vec steepness, room;
  };
  EPSBALL_INLINE Way way(Index i, Index n) const {
    const Vec towards = load(normal + i, n) * sign, from = load(x + i, n);
    const Vec down = from - load(lo + i, n), up = load(hi + i, n) - from;
    const Vec room = select(towards > 0.0f, up, select(towards < 0.0f, down, Vec{}));
    return {abs(towards), max(room, Vec{})};
  }

  // Length of the features' moves under a multiplier, as in LinearRow.
  EPSBALL_INLINE Vec length(const Way& w, float t) const {
    if (norm == Norm::l1) return select(w.steepness > t, w.room, Vec{});
    return min(norm == Norm::linf ? splat<Vec>(t) : w.steepness * t, w.room);
  }
  double gain(float t) const {
    DVec total = {};
    for_lanes(features, [&](Index i, Index n) {
      const Way w = way(i, n);
      total = total + to_double(w.steepness) * to_double(length(w, t));
    });
    return sum(total);
  }

  EPSBALL_INLINE void move(float* z, Index i, Index n, Vec length) const {
    const Vec moved = load(x + i, n) + with_sign_of(length, load(normal + i, n) * sign);
    store(z + i, clip(moved, load(lo + i, n), load(hi + i, n)), n);
  }
};

// The multiplier grows until the gap is closed, or every feature is at its end of the box.
void nearest_of_plane(const PlaneRow& p, float* z) {
  constexpr float kMost = 0x1.fffffep127f;
  const float t = p.gain(kMost) < p.gap ? kMost : first_float(kMost, [&](float v) { return p.gain(v) >= p.gap; });
  for_lanes(p.features, [&](Index i, Index n) { p.move(z, i, n, p.length(p.way(i, n), t)); });
}

// Fills the steepest features' room first; equals in order of their index.
void nearest_of_plane_l1(const PlaneRow& p, float* z) {
  Vec tops = {};
  for_lanes(p.features, [&](Index i, Index n) { tops = max(tops, abs(load(p.normal + i, n))); });
  const float t = first_float(largest(tops), [&](float v) { return p.gain(v) <= p.gap; });
  double left = p.gap - p.gain(t);
  for_lanes(p.features, [&](Index i, Index n) {
    const PlaneRow::Way w = p.way(i, n);
    float steepness[kLanes], room[kLanes], length[kLanes];
    store(steepness, w.steepness);
    store(room, w.room);
    store(length, p.length(w, t));
    for (Index j = 0; j < n; ++j) {
      if (steepness[j] != t || !(t > 0.0f)) continue;
      const float wanted = static_cast<float>(left / t);
      length[j] = wanted < room[j] ? wanted : room[j];
      left -= static_cast<double>(length[j]) * t;
    }
    p.move(z, i, n, load(length));
  });
}

void hyperplane(Stream, const HyperplaneRows& a) {
  for (Index r = 0; r < a.rows; ++r) {
    const PlaneRow p(a, r);
    float* z = a.z + r * a.ld;
    a.norm == Norm::l1 ? nearest_of_plane_l1(p, z) : nearest_of_plane(p, z);
  }
}

// ---- steps of Carlini and Wagner, and of EAD ----

bool is_zero(const float* gradient, Index features) {
  Vec tops = {};
  for_lanes(features, [&](Index i, Index n) { tops = max(tops, abs(load(gradient + i, n))); });
  return !(largest(tops) > 0.0f);
}

void box_adam(Stream, Index rows, const BoxAdam& a) {
  for (Index r = 0; r < rows; ++r) {
    const float rate = a.rate / (1.0f - a.power1[r]), correction2 = 1.0f / (1.0f - a.power2[r]), push = a.push[r];
    const float tau = a.tau ? a.tau[r] : 0.0f;
    const std::uint8_t restart = a.restart[r];
    DVec penalty = {};
    for_lanes(a.features, [&](Index i, Index n) {
      const Index at = r * a.ld + i;
      const Vec x0 = load(a.x0 + at, n), lo = load(a.lo + at, n), hi = load(a.hi + at, n);
      AdamState<Vec> from{load(a.x + at, n), load(a.w + at, n), load(a.moment1 + at, n), load(a.moment2 + at, n)};
      if (restart == kForget) from.moment1 = from.moment2 = Vec{};
      const Vec g = load(a.gradient + at, n);
      const AdamState<Vec> to = restart == kFromInput ? box_restart(x0, lo, hi)
                                                      : box_adam(a, from, x0, lo, hi, g, push, tau, rate, correction2);
      store(a.x + at, to.x, n);
      store(a.w + at, to.w, n);
      store(a.moment1 + at, to.moment1, n);
      store(a.moment2 + at, to.moment2, n);
      if (a.penalty) penalty = penalty + to_double(penalty_of(a, to.x - x0, tau));
    });
    if (a.penalty) a.penalty[r] = static_cast<float>(sum(penalty));
    a.moving[r] |= restart != kFromInput && !is_zero(a.gradient + r * a.ld, a.features);
  }
}

void shrink(Stream, Index rows, const Shrinkage& a) {
  for (Index r = 0; r < rows; ++r) {
    const float rate = shrink_rate(a, a.step[r]), momentum = shrink_momentum(a.step[r]);
    for_lanes(a.features, [&](Index i, Index n) {
      const Index at = r * a.ld + i;
      const Vec x0 = load(a.x0 + at, n), y = load(a.y + at, n), last = load(a.z + at, n);
      const Vec z =
          shrunk(y, x0, load(a.lo + at, n), load(a.hi + at, n), load(a.gradient + at, n), a.push[r], rate, a.beta);
      store(a.z + at, a.restart[r] ? x0 : z, n);
      store(a.y + at, a.restart[r] ? x0 : mul_add(z - last, splat<Vec>(momentum), z), n);
    });
    a.moving[r] |= !a.restart[r] && !is_zero(a.gradient + r * a.ld, a.features);
  }
}

// ---- features back to x0, by what they cost ----

void freeze_row(const FreezeRows& a, Index r) {
  const Index at = r * a.ld;
  const auto cost = [&](Index i, Index n) {
    return cost_of(load(a.x + at + i, n), load(a.x0 + at + i, n), load(a.lo + at + i, n), load(a.hi + at + i, n),
                   load(a.gradient + at + i, n));
  };
  const auto count_up_to = [&](float t) {
    DVec count = {};
    for_lanes(a.features,
              [&](Index i, Index n) { count = count + to_double(select(cost(i, n) <= t, splat<Vec>(1.0f), Vec{})); });
    return sum(count);
  };
  DVec changed = {};
  for_lanes(a.features, [&](Index i, Index n) {
    const Vec d = abs(load(a.x + at + i, n) - load(a.x0 + at + i, n));
    changed = changed + to_double(select(d > a.changed, splat<Vec>(1.0f), Vec{}));
  });
  constexpr float kMost = 0x1.fffffep127f;
  const double wanted = count_to_freeze(a, sum(changed), count_up_to(a.cost));
  const float t = first_float(kMost, [&](float v) { return count_up_to(v) >= wanted; });
  double equals = wanted - (t > 0.0f ? count_up_to(next_down(t)) : 0.0);
  for (Index i = 0; i < a.features; ++i) {
    float &x = a.x[at + i], &lo = a.lo[at + i], &hi = a.hi[at + i];
    const float x0 = a.x0[at + i], c = cost_of(x, x0, lo, hi, a.gradient[at + i]);
    if (!(c <= t) || (c == t && (equals -= 1.0) < 0.0)) continue;
    x = lo = hi = x0;
  }
}

void freeze(Stream, Index rows, const FreezeRows& a) {
  for (Index r = 0; r < rows; ++r)
    if (a.won[r]) freeze_row(a, r);
}

// ---- L-BFGS ----

struct LaneOps {
  Index features;

  struct Place {
    Index i, n;
    EPSBALL_INLINE Vec load(const float* p) const { return EPSBALL_ISA::load(p + i, n); }
    EPSBALL_INLINE void store(float* p, Vec v) const { EPSBALL_ISA::store(p + i, v, n); }
  };
  template <class F>
  EPSBALL_INLINE void each(F f) const {
    for_lanes(features, [&](Index i, Index n) { f(Place{i, n}); });
  }
  template <class F>
  EPSBALL_INLINE double sum(F f) const {
    DVec total = {};
    for_lanes(features, [&](Index i, Index n) { total = total + to_double(f(Place{i, n})); });
    return EPSBALL_ISA::sum(total);
  }
  EPSBALL_INLINE bool leads() const { return true; }
};

void lbfgs(Stream, Index rows, const LbfgsRows& a) {
  const LaneOps ops{a.features};
  for (Index r = 0; r < rows; ++r) lbfgs_row(a, ops, r);
}

// ---- single features ----

// The feature of the largest gain, the first of equals; -1: none.
Index best_flip(const FlipRows& a, Index at) {
  Vec gains = {};
  IVec places = {};
  for_lanes(a.features, [&](Index i, Index n) {
    const Vec gain =
        gain_of(a, load(a.x + at + i, n), load(a.lo + at + i, n), load(a.hi + at + i, n), load(a.gradient + at + i, n));
    const Mask better = gain > gains;
    places = select(better, IVec{} + static_cast<std::int32_t>(i), places);
    gains = select(better, gain, gains);
  });
  float gain[kLanes], best = 0.0f;
  std::int32_t place[kLanes];
  store(gain, gains);
  store(place, places, kLanes);
  Index flip = -1;
  for (Index j = 0; j < kLanes; ++j) {
    const Index i = place[j] + j;
    if (!(gain[j] > best) && !(gain[j] == best && gain[j] > 0.0f && i < flip)) continue;
    best = gain[j];
    flip = i;
  }
  return flip;
}

void flip(Stream, Index rows, const FlipRows& a) {
  for (Index r = 0; r < rows; ++r) {
    const Index i = best_flip(a, r * a.ld), at = r * a.ld + i;
    if (i >= 0) a.x[at] = a.lo[at] = a.hi[at] = a.rise ? a.hi[at] : a.lo[at];
    a.moving[r] |= !is_zero(a.gradient + r * a.ld, a.features);
    a.done[r] |= i < 0 && a.moving[r];
  }
}

// ---- JSMA's pair ----

struct SaliencyRow {
  const SaliencyRows& a;
  Index at;  // where the row begins
  float sign;

  SaliencyRow(const SaliencyRows& rows, Index r) : a(rows), at(r * rows.ld), sign(rows.increase ? 1.0f : -1.0f) {}

  Vec target(Index i, Index n) const { return load(a.target + at + i, n) * sign; }
  Vec others(Index i, Index n) const { return load(a.others + at + i, n) * sign; }
  Mask may_move(Index i, Index n) const {
    const Vec x = load(a.x + at + i, n), lo = load(a.lo + at + i, n), hi = load(a.hi + at + i, n);
    return a.increase ? (lo < hi) & (x < hi) : (lo < hi) & (x > lo);
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
    const float x = r.a.x[r.at + p], lo = r.a.lo[r.at + p], hi = r.a.hi[r.at + p];
    const bool may = lo < hi && (r.a.increase ? x < hi : x > lo);
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

void add_minimum_norm(Kernels& k) {
  k.row_reach = row_reach;
  k.hyperplane = hyperplane;
  k.rank_rivals = decide_rows<RankRivals>;
  k.logit_pair = decide_rows<LogitPair>;
  k.nearest_plane = decide_rows<NearestPlane>;
  k.ddn = decide_rows<DdnRows>;
  k.sphere = decide_rows<SphereRows>;
  k.fmn = decide_rows<FmnRows>;
  k.fab = decide_rows<FabRows>;
  k.fab_start = decide_rows<FabStartRows>;
  k.search = decide_rows<SearchRows>;
  k.box_adam = box_adam;
  k.shrink = shrink;
  k.saliency = saliency;
  k.tighten = decide_rows<TightenRows>;
  k.freeze = freeze;
  k.lbfgs = lbfgs;
  k.flip = flip;
  k.newton_fool = decide_rows<NewtonFoolRows>;
  k.ask = decide_rows<AskRows>;
  k.answer = decide_rows<AnswerRows>;
  k.begin = decide_rows<BeginRows>;
  k.cut = decide_rows<CutRows>;
  k.nearest = decide_rows<NearestRows>;
  k.probe = decide_rows<ProbeRows>;
  k.baseline = decide_rows<BaselineRows>;
  k.leap = decide_rows<LeapRows>;
  k.walk = decide_rows<WalkRows>;
  k.adapt = decide_rows<AdaptRows>;
  k.pointwise = decide_rows<PointwiseRows>;
}

}  // namespace epsball::EPSBALL_ISA
