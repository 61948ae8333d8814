// What minimum-norm attacks need beyond vectors: the nearest point of a plane within the box, the steps of Carlini and
// Wagner, of EAD and of L-BFGS, JSMA's pair, single features, and all that they decide per row; mirrors
// cpp/minimum_norm.cpp.
#include "launch.cuh"

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
#include "flat.cuh"
#include "row.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// ---- kernels ----

template <class Rows>
__global__ void decide_kernel(Index rows, Rows a, const std::int32_t* active) {
  for_flat(rows_now(rows, active), [&](Index r) { decide(a, r); });
}

__global__ void reach_kernel(ReachRows a, const std::int32_t* active) {
  for_rows(rows_now(a.rows, active), [&](Index r) {
    const auto length = [&](Index i) {
      const Index at = r * a.ld + i;
      const double x = a.x[at], down = x - static_cast<double>(a.lo[at]), up = static_cast<double>(a.hi[at]) - x;
      return up > down ? up : down;
    };
    double norm;
    if (a.norm == Norm::linf)
      norm = row_max<double>(a.features, length);
    else if (a.norm == Norm::l2)
      norm = ::sqrt(row_sum(a.features, [&](Index i) { return length(i) * length(i); }));
    else if (a.norm == Norm::l1)
      norm = row_sum(a.features, length);
    else
      norm = row_sum(a.features, [&](Index i) { return length(i) > 0.0 ? 1.0 : 0.0; });
    if (threadIdx.x == 0) a.out[r] = static_cast<float>(norm);
  });
}

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

  __device__ PlaneRow(const HyperplaneRows& a, Index r)
      : norm(a.norm),
        features(a.features),
        x(a.x + r * a.ld),
        normal(a.normal + r * a.ld),
        lo(a.lo + r * a.ld),
        hi(a.hi + r * a.ld) {
    const float* at = a.at + r * a.ld;
    const double rise = row_sum(features, [&](Index i) {
      return static_cast<double>(normal[i]) * (static_cast<double>(x[i]) - static_cast<double>(at[i]));
    });
    const double value = static_cast<double>(a.value[r]) + rise;
    sign = value < 0.0 ? 1.0f : -1.0f;
    gap = value < 0.0 ? -value : value;
  }

  __device__ float steepness(Index i) const { return abs(normal[i]); }
  // How far x can move in the direction that closes the gap.
  __device__ float room(Index i) const {
    const float towards = normal[i] * sign;
    return max(towards > 0.0f ? hi[i] - x[i] : towards < 0.0f ? x[i] - lo[i] : 0.0f, 0.0f);
  }
  // Length of a feature's move under a multiplier, as in LinearRow.
  __device__ float length(Index i, float t) const {
    if (norm == Norm::l1) return steepness(i) > t ? room(i) : 0.0f;
    return min(norm == Norm::linf ? t : steepness(i) * t, room(i));
  }
  __device__ double gained(Index i, float length) const {
    return static_cast<double>(steepness(i)) * static_cast<double>(length);
  }
  __device__ double gain(float t) const {
    return row_sum(features, [&](Index i) { return gained(i, length(i, t)); });
  }
  __device__ float moved(Index i, float length) const {
    return clip(x[i] + with_sign_of(length, normal[i] * sign), lo[i], hi[i]);
  }
};

// The multiplier grows until the gap is closed, or every feature is at its end of the box.
__device__ void nearest_of_plane(const PlaneRow& p, float* z) {
  constexpr float kMost = 0x1.fffffep127f;
  const bool reachable = p.gain(kMost) >= p.gap;
  const float t = first_float(kMost, [&](float v) { return !reachable || p.gain(v) >= p.gap; });
  for_features(p.features, [&](Index i) { z[i] = p.moved(i, p.length(i, reachable ? t : kMost)); });
}

// Fills the steepest features' room first; equals in order of their index.
__device__ void nearest_of_plane_l1(const PlaneRow& p, float* z) {
  const float top = row_max<float>(p.features, [&](Index i) { return abs(p.normal[i]); });
  const float t = first_float(top, [&](float v) { return p.gain(v) <= p.gap; });
  const double left = p.gap - p.gain(t);
  const auto tie = [&](Index i) { return p.steepness(i) == t && t > 0.0f; };
  const auto spent = [&](Index m) {
    return row_sum(p.features, [&](Index i) { return i < m && tie(i) ? p.gained(i, p.room(i)) : 0.0; });
  };
  const Index filled = leading(p.features, [&](Index m) { return spent(m) <= left; });
  const float rest = static_cast<float>((left - spent(filled)) / t);
  for_features(p.features, [&](Index i) {
    float length = p.length(i, t);
    if (tie(i)) length = i < filled ? p.room(i) : i == filled ? min(rest, p.room(i)) : 0.0f;
    z[i] = p.moved(i, length);
  });
}

__global__ void hyperplane_kernel(HyperplaneRows a, const std::int32_t* active) {
  for_rows(rows_now(a.rows, active), [&](Index r) {
    const PlaneRow p(a, r);
    float* z = a.z + r * a.ld;
    a.norm == Norm::l1 ? nearest_of_plane_l1(p, z) : nearest_of_plane(p, z);
  });
}

__device__ void set_moving(const float* gradient, Index features, bool restart, std::uint8_t& moving) {
  const float top = row_max<float>(features, [&](Index i) { return abs(gradient[i]); });
  if (threadIdx.x == 0) moving |= !restart && top > 0.0f;
}

__global__ void box_adam_kernel(Index rows, BoxAdam a, const std::int32_t* active) {
  for_rows(rows_now(rows, active), [&](Index r) {
    const float rate = a.rate / (1.0f - a.power1[r]), correction2 = 1.0f / (1.0f - a.power2[r]), push = a.push[r];
    const float tau = a.tau ? a.tau[r] : 0.0f;
    const std::uint8_t restart = a.restart[r];
    for_features(a.features, [&](Index i) {
      const Index at = r * a.ld + i;
      const float x0 = a.x0[at], lo = a.lo[at], hi = a.hi[at];
      AdamState<float> from{a.x[at], a.w[at], a.moment1[at], a.moment2[at]};
      if (restart == kForget) from.moment1 = from.moment2 = 0.0f;
      const AdamState<float> to = restart == kFromInput
                                      ? box_restart(x0, lo, hi)
                                      : box_adam(a, from, x0, lo, hi, a.gradient[at], push, tau, rate, correction2);
      a.x[at] = to.x;
      a.w[at] = to.w;
      a.moment1[at] = to.moment1;
      a.moment2[at] = to.moment2;
    });
    set_moving(a.gradient + r * a.ld, a.features, restart == kFromInput, a.moving[r]);
    if (!a.penalty) return;
    const double penalty = row_sum(a.features, [&](Index i) {
      const Index at = r * a.ld + i;
      return static_cast<double>(penalty_of(a, a.x[at] - a.x0[at], tau));
    });
    if (threadIdx.x == 0) a.penalty[r] = static_cast<float>(penalty);
  });
}

__global__ void shrink_kernel(Index rows, Shrinkage a, const std::int32_t* active) {
  for_rows(rows_now(rows, active), [&](Index r) {
    const float rate = shrink_rate(a, a.step[r]), momentum = shrink_momentum(a.step[r]);
    for_features(a.features, [&](Index i) {
      const Index at = r * a.ld + i;
      const float x0 = a.x0[at];
      const float z = shrunk(a.y[at], x0, a.lo[at], a.hi[at], a.gradient[at], a.push[r], rate, a.beta);
      const float y = mul_add(z - a.z[at], momentum, z);
      a.z[at] = a.restart[r] ? x0 : z;
      a.y[at] = a.restart[r] ? x0 : y;
    });
    set_moving(a.gradient + r * a.ld, a.features, a.restart[r], a.moving[r]);
  });
}

struct SaliencyRow {
  const SaliencyRows& a;
  Index at;  // where the row begins
  float sign;

  __device__ SaliencyRow(const SaliencyRows& rows, Index r)
      : a(rows), at(r * rows.ld), sign(rows.increase ? 1.0f : -1.0f) {}

  __device__ float target(Index i) const { return a.target[at + i] * sign; }
  __device__ float others(Index i) const { return a.others[at + i] * sign; }
  __device__ bool may_move(Index i) const {
    const float x = a.x[at + i], lo = a.lo[at + i], hi = a.hi[at + i];
    return lo < hi && (a.increase ? x < hi : x > lo);
  }
  __device__ float score(float up, float down) const { return up > 0.0f && down < 0.0f ? -(up * down) : 0.0f; }
  __device__ void move(Index i) const {
    const float x = clip(a.x[at + i] + a.theta * sign, a.lo[at + i], a.hi[at + i]);
    a.x[at + i] = x;
    if (!a.again) a.lo[at + i] = a.hi[at + i] = x;
  }
};

// Thread t looks at the pairs (p, q > p) of p = t, t + blockDim.x, ...; with the largest target and the smallest others
// that any partner has, no pair of p scores more, and most are passed over.
__global__ void saliency_kernel(Index rows, SaliencyRows a, const std::int32_t* active) {
  for_rows(rows_now(rows, active), [&](Index row) {
    const SaliencyRow r(a, row);
    float top = -__builtin_inff(), drop = -__builtin_inff();
    for_features(a.features, [&](Index i) {
      if (!r.may_move(i)) return;
      top = max(top, r.target(i));
      drop = max(drop, -r.others(i));
    });
    top = block_max(top);
    drop = block_max(drop);
    float best = 0.0f;
    std::int32_t first = 0, second = 0;
    for_features(a.features, [&](Index p) {
      const float tp = r.target(p), op = r.others(p);
      if (!r.may_move(p) || !(r.score(tp + top, op - drop) > best)) return;
      for (Index q = p + 1; q < a.features; ++q) {
        const float score = r.may_move(q) ? r.score(r.target(q) + tp, r.others(q) + op) : 0.0f;
        if (!(score > best)) continue;
        best = score;
        first = static_cast<std::int32_t>(p);
        second = static_cast<std::int32_t>(q);
      }
    });
    const bool sloped =
        row_max<float>(a.features, [&](Index i) { return max(abs(r.target(i)), abs(r.others(i))); }) > 0.0f;
    const float highest = block_max(best);
    const bool found = highest > 0.0f;
    const auto past = static_cast<std::int32_t>(a.features);
    const std::int32_t p = past - block_max(found && best == highest ? past - first : 0);
    const bool mine = found && best == highest && first == p;
    if (mine) {
      r.move(first);
      r.move(second);
    }
    if (threadIdx.x == 0) {
      a.moving[row] |= sloped;
      a.done[row] |= !found && a.moving[row];
    }
  });
}

__global__ void freeze_kernel(Index rows, FreezeRows a, const std::int32_t* active) {
  for_rows(rows_now(rows, active), [&](Index r) {
    if (!a.won[r]) return;  // the whole block
    const Index start = r * a.ld;
    const auto cost = [&](Index i) {
      const Index at = start + i;
      return cost_of(a.x[at], a.x0[at], a.lo[at], a.hi[at], a.gradient[at]);
    };
    const auto count = [&](auto counts) { return row_sum(a.features, [&](Index i) { return counts(i) ? 1.0 : 0.0; }); };
    const auto count_up_to = [&](float t) { return count([&](Index i) { return cost(i) <= t; }); };
    const double changed = count([&](Index i) { return abs(a.x[start + i] - a.x0[start + i]) > a.changed; });
    constexpr float kMost = 0x1.fffffep127f;
    const double wanted = count_to_freeze(a, changed, count_up_to(a.cost));
    const float t = first_float(kMost, [&](float v) { return count_up_to(v) >= wanted; });
    const double equals = wanted - count([&](Index i) { return cost(i) < t; });
    const Index first = leading(a.features, [&](Index m) {
      return count([&](Index i) { return i < m && cost(i) == t; }) <= equals;
    });  // of those that cost t, the ones below it
    for_features(a.features, [&](Index i) {
      const float c = cost(i);
      const Index at = start + i;
      if (c < t || (c == t && i < first)) a.x[at] = a.lo[at] = a.hi[at] = a.x0[at];
    });
  });
}

// A row's features, dealt out to the block's threads.
struct BlockOps {
  Index features;

  struct Place {
    Index i;
    __device__ float load(const float* p) const { return p[i]; }
    __device__ void store(float* p, float v) const { p[i] = v; }
  };
  template <class F>
  __device__ void each(F f) const {
    for_features(features, [&](Index i) { f(Place{i}); });
  }
  template <class F>
  __device__ double sum(F f) const {
    return row_sum(features, [&](Index i) { return static_cast<double>(f(Place{i})); });
  }
  __device__ bool leads() const { return threadIdx.x == 0; }
};

__global__ void lbfgs_kernel(Index rows, LbfgsRows a, const std::int32_t* active) {
  const BlockOps ops{a.features};
  for_rows(rows_now(rows, active), [&](Index r) { lbfgs_row(a, ops, r); });
}

__global__ void flip_kernel(Index rows, FlipRows a, const std::int32_t* active) {
  for_rows(rows_now(rows, active), [&](Index r) {
    const auto gain = [&](Index i) {
      const Index at = r * a.ld + i;
      return gain_of(a, a.x[at], a.lo[at], a.hi[at], a.gradient[at]);
    };
    const float best = row_max<float>(a.features, gain);
    const Index flip =
        best > 0.0f
            ? leading(a.features,
                      [&](Index m) {
                        return row_max<float>(a.features, [&](Index i) { return i < m ? gain(i) : 0.0f; }) < best;
                      })
            : -1;
    const bool sloped = row_max<float>(a.features, [&](Index i) { return abs(a.gradient[r * a.ld + i]); }) > 0.0f;
    if (threadIdx.x == 0) {
      const Index at = r * a.ld + flip;
      if (flip >= 0) a.x[at] = a.lo[at] = a.hi[at] = a.rise ? a.hi[at] : a.lo[at];
      a.moving[r] |= sloped;
      a.done[r] |= flip < 0 && a.moving[r];
    }
  });
}

// ---- what the table calls ----

template <class Rows>
void decide_rows(Stream stream, Index rows, const Rows& a) {
  const DeviceStream s = device_stream(stream);
  launch(decide_kernel<Rows>, flat_grid(rows), kFlatThreads, 0, s, rows, a, s.active);
}

void row_reach(Stream stream, const ReachRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(reach_kernel, rows_grid(a.rows), kRowThreads, 0, s, a, s.active);
}

void hyperplane(Stream stream, const HyperplaneRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(hyperplane_kernel, rows_grid(a.rows), kRowThreads, 0, s, a, s.active);
}

void box_adam_rows(Stream stream, Index rows, const BoxAdam& a) {
  const DeviceStream s = device_stream(stream);
  launch(box_adam_kernel, rows_grid(rows), kRowThreads, 0, s, rows, a, s.active);
}

void shrink(Stream stream, Index rows, const Shrinkage& a) {
  const DeviceStream s = device_stream(stream);
  launch(shrink_kernel, rows_grid(rows), kRowThreads, 0, s, rows, a, s.active);
}

void saliency(Stream stream, Index rows, const SaliencyRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(saliency_kernel, rows_grid(rows), kRowThreads, 0, s, rows, a, s.active);
}

void freeze(Stream stream, Index rows, const FreezeRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(freeze_kernel, rows_grid(rows), kRowThreads, 0, s, rows, a, s.active);
}

void lbfgs(Stream stream, Index rows, const LbfgsRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(lbfgs_kernel, rows_grid(rows), kRowThreads, 0, s, rows, a, s.active);
}

void flip(Stream stream, Index rows, const FlipRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(flip_kernel, rows_grid(rows), kRowThreads, 0, s, rows, a, s.active);
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
  k.box_adam = box_adam_rows;
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

}  // namespace epsball::cuda
