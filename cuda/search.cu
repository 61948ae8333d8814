// Steps of Carlini and Wagner and of EAD, and features that go back to x0 by what they cost; mirrors cpp/search.cpp.
#include "launch.cuh"

#include "attacks/search_row.h"
#include "attacks/tighten_row.h"
#include "row.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// ---- kernels ----

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
      a.z[at] = a.restart[r] == kFromInput ? x0 : z;
      a.y[at] = a.restart[r] == kFromInput ? x0 : y;
    });
    set_moving(a.gradient + r * a.ld, a.features, a.restart[r] == kFromInput, a.moving[r]);
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

// ---- what the table calls ----

void box_adam_rows(Stream stream, Index rows, const BoxAdam& a) {
  const DeviceStream s = device_stream(stream);
  launch(box_adam_kernel, rows_grid(rows), kRowThreads, 0, s, rows, a, s.active);
}

void shrink(Stream stream, Index rows, const Shrinkage& a) {
  const DeviceStream s = device_stream(stream);
  launch(shrink_kernel, rows_grid(rows), kRowThreads, 0, s, rows, a, s.active);
}

void freeze(Stream stream, Index rows, const FreezeRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(freeze_kernel, rows_grid(rows), kRowThreads, 0, s, rows, a, s.active);
}

}  // namespace

void add_search(Kernels& k) {
  k.box_adam = box_adam_rows;
  k.shrink = shrink;
  k.freeze = freeze;
}

}  // namespace epsball::cuda
