// Steps of L-BFGS within the box; mirrors cpp/lbfgs.cpp.
#include "launch.cuh"

#include "attacks/lbfgs_row.h"
#include "row.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// ---- kernels ----

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

// ---- what the table calls ----

void lbfgs(Stream stream, Index rows, const LbfgsRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(lbfgs_kernel, rows_grid(rows), kRowThreads, 0, s, rows, a, s.active);
}

}  // namespace

void add_lbfgs(Kernels& k) { k.lbfgs = lbfgs; }

}  // namespace epsball::cuda
