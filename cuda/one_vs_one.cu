// Votes of pairwise classifiers with their confidences; mirrors cpp/one_vs_one.cpp.
#include "launch.cuh"

#include "elements.cuh"
#include "formulas.h"
#include "row.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// The pair (i, i + 1) of a row's pairs (0, 1), (0, 2), ..., (1, 2), ...
__device__ __forceinline__ Index first_pair(Index i, Index classes) { return i * (2 * classes - i - 1) / 2; }

struct Score {
  float votes = 0.0f, sum = 0.0f;
};

// What class i gets out of its row's decisions x; 0 votes for the first of the two.
__device__ Score score_of(const float* x, Index i, Index classes) {
  Score s;
  for (Index j = 0; j < i; ++j) {
    const float d = x[first_pair(j, classes) + i - j - 1];
    s.votes += d < 0.0f ? 1.0f : 0.0f;
    s.sum -= d;
  }
  for (Index j = i + 1; j < classes; ++j) {
    const float d = x[first_pair(i, classes) + j - i - 1];
    s.votes += d < 0.0f ? 0.0f : 1.0f;
    s.sum += d;
  }
  return s;
}

// ---- kernels ----

__global__ void one_vs_one_forward_kernel(OneVsOneRows a, const std::int32_t* active) {
  for_elements(rows_now(a.rows, active), a.classes, [&](Index r, Index i) {
    const Score s = score_of(a.x + r * a.ldx, i, a.classes);
    a.y[r * a.ldy + i] = s.votes + s.sum / ((abs(s.sum) + 1.0f) * 3.0f);
  });
}

// A block per row: first the gradient of every class's sum, then what each pair gets from its two.
__global__ void one_vs_one_backward_kernel(OneVsOneRows a, const std::int32_t* active) {
  DYN_SHARED(float, slope);  // (classes)
  for_rows(rows_now(a.rows, active), [&](Index r) {
    for_features(a.classes, [&](Index i) {
      const float share = 1.0f / (abs(score_of(a.x + r * a.ldx, i, a.classes).sum) + 1.0f);
      slope[i] = a.dy[r * a.lddy + i] * share * share * 0.333333333f;
    });
    barrier();
    for (Index i = 0; i + 1 < a.classes; ++i) {
      float* dx = a.dx + r * a.lddx + first_pair(i, a.classes);
      for_features(a.classes - i - 1, [&](Index j) { dx[j] = slope[i] - slope[i + 1 + j]; });
    }
    barrier();  // the next row writes there
  });
}

// ---- what the table calls ----

void one_vs_one_forward(Stream stream, const OneVsOneRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(one_vs_one_forward_kernel, elements_grid(a.rows, a.classes), elements_block(), 0, s, a, s.active);
}

void one_vs_one_backward(Stream stream, const OneVsOneRows& a) {
  const DeviceStream s = device_stream(stream);
  const std::size_t shared = static_cast<std::size_t>(a.classes) * sizeof(float);
  launch(one_vs_one_backward_kernel, rows_grid(a.rows), kWarpSize, shared, s, a, s.active);
}

}  // namespace

void add_one_vs_one(Kernels& k) {
  k.one_vs_one_forward = one_vs_one_forward;
  k.one_vs_one_backward = one_vs_one_backward;
}

}  // namespace epsball::cuda
