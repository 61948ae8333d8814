// Rows as vectors: norms, products and combinations, of which the attacks make their steps; mirrors cpp/vectors.cpp.
#include "launch.cuh"

#include "elements.cuh"
#include "project.cuh"
#include "table.cuh"
#include "term.h"

namespace epsball::cuda {
namespace {

// ---- kernels ----

__global__ void row_norms_kernel(RowNorms a, const std::int32_t* active) {
  for_rows(rows_now(a.rows, active), [&](Index row) {
    const float* x = a.x + row * a.ld;
    const float* y = a.y ? a.y + row * a.ld : nullptr;
    const auto length = [&](Index i) {
      if (a.lo && !(a.lo[row * a.ld + i] < a.hi[row * a.ld + i])) return 0.0;
      const double d = static_cast<double>(x[i]) - (y ? static_cast<double>(y[i]) : 0.0);
      return d < 0.0 ? -d : d;
    };
    const double norm = row_norm(a.norm, a.features, length);
    if (threadIdx.x == 0) a.out[row] = static_cast<float>(norm);
  });
}

__global__ void row_dots_kernel(Index rows, Index n, const float* x, Index ldx, const float* y, Index ldy, float* out,
                                const std::int32_t* active) {
  for_rows(rows_now(rows, active), [&](Index row) {
    const double dot = row_sum(
        n, [&](Index i) { return static_cast<double>(x[row * ldx + i]) * static_cast<double>(y[row * ldy + i]); });
    if (threadIdx.x == 0) out[row] = static_cast<float>(dot);
  });
}

__global__ void combine_kernel(CombineRows a, const std::int32_t* active) {
  for_elements(rows_now(a.rows, active), a.features, [&](Index r, Index i) {
    const auto scale = [&](const Term& t) { return factor(t, r); };
    float v = a.terms[0].x[r * a.terms[0].ld + i] * scale(a.terms[0]);
    for (int t = 1; t < 4; ++t)
      if (t < a.count) v = mul_add(a.terms[t].x[r * a.terms[t].ld + i], scale(a.terms[t]), v);
    const Index limit = r * a.ld_limits + i;
    if (a.lo) v = clip(v, a.lo[limit], a.hi[limit]);
    a.out[r * a.ld + i] = v;
  });
}

// ---- what the table calls ----

void row_norms(Stream stream, const RowNorms& a) {
  const DeviceStream s = device_stream(stream);
  launch(row_norms_kernel, rows_grid(a.rows), kRowThreads, 0, s, a, s.active);
}

void row_dots(Stream stream, Index rows, Index n, const float* x, Index ldx, const float* y, Index ldy, float* out) {
  const DeviceStream s = device_stream(stream);
  launch(row_dots_kernel, rows_grid(rows), kRowThreads, 0, s, rows, n, x, ldx, y, ldy, out, s.active);
}

void combine(Stream stream, const CombineRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(combine_kernel, elements_grid(a.rows, a.features), elements_block(), 0, s, a, s.active);
}

}  // namespace

void add_vectors(Kernels& k) {
  k.row_norms = row_norms;
  k.row_dots = row_dots;
  k.combine = combine;
}

}  // namespace epsball::cuda
