// JSMA's pair of features; mirrors cpp/saliency.cpp.
#include "launch.cuh"

#include "attacks/saliency_row.h"
#include "row.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// ---- kernels ----

struct SaliencyRow {
  const SaliencyRows& a;
  Index at;  // where the row begins
  float sign;

  __device__ SaliencyRow(const SaliencyRows& rows, Index r)
      : a(rows), at(r * rows.ld), sign(rows.increase ? 1.0f : -1.0f) {}

  __device__ float target(Index i) const { return a.target[at + i] * sign; }
  __device__ float others(Index i) const { return a.others[at + i] * sign; }
  __device__ bool may_move(Index i) const { return has_room(a, a.x[at + i], a.lo[at + i], a.hi[at + i]); }
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

// ---- what the table calls ----

void saliency(Stream stream, Index rows, const SaliencyRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(saliency_kernel, rows_grid(rows), kRowThreads, 0, s, rows, a, s.active);
}

}  // namespace

void add_saliency(Kernels& k) { k.saliency = saliency; }

}  // namespace epsball::cuda
