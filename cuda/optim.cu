// Parameter updates of the optimisers, one parameter per thread; mirrors cpp/optim.cpp.
#include "launch.cuh"

#include "flat.cuh"
#include "formulas.h"
#include "slices.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

__device__ __forceinline__ float decayed_gradient(const Update& u, Index i, float p) {
  float g = u.gradient[i] * u.scale;
  if (u.l2 != 0.0f) g = mul_add(p, u.l2, g);
  if (u.l1 != 0.0f) g = mul_add(sign(p), u.l1, g);
  return g;
}

__device__ __forceinline__ float shrunk(const Update& u, float p) {
  return u.decay != 0.0f ? p - p * (u.rate * u.decay) : p;
}

// ---- kernels ----

// v <- momentum v + g; p <- p - rate v (Nesterov: p - rate (g + momentum v)).
__global__ void sgd_kernel(Update u) {
  for_flat(u.count, [&](Index i) {
    const float p = u.parameter[i];
    float g = decayed_gradient(u, i, p);
    if (u.momentum != 0.0f) {
      const float v = mul_add(u.moment1[i], u.momentum, g);
      u.moment1[i] = v;
      g = u.nesterov ? mul_add(v, u.momentum, g) : v;
    }
    u.parameter[i] = shrunk(u, p) - g * u.rate;
  });
}

// Adam (Kingma and Ba 2015) with bias correction; with `decay` AdamW (Loshchilov and Hutter 2019).
__global__ void adam_kernel(Update u) {
  const AdamCorrections c = u.changing ? *u.changing : u.correction;
  const float step = u.rate / c.first, scale = 1.0f / c.second;
  for_flat(u.count, [&](Index i) {
    const float p = u.parameter[i], g = decayed_gradient(u, i, p);
    const float m = u.moment1[i] * u.beta1 + g * (1.0f - u.beta1);
    const float v = u.moment2[i] * u.beta2 + g * g * (1.0f - u.beta2);
    u.moment1[i] = m;
    u.moment2[i] = v;
    u.parameter[i] = shrunk(u, p) - m * step / (sqrt(v * scale) + u.epsilon);
  });
}

// One block: 32 x kSlices chains over the values in turn, added up in order.
__global__ void sum_squares_kernel(Index count, const float* x, double* total) {
  double sum = 0.0;
  for_slice((count + kWarpSize - 1) / kWarpSize, [&](Index i) {
    const Index at = i * kWarpSize + threadIdx.x;
    if (at < count) sum = sum + static_cast<double>(x[at]) * static_cast<double>(x[at]);
  });
  sum = sum_slices(sum);
  SHARED_ARRAY(double, sums, [kWarpSize]);
  if (threadIdx.y == 0) sums[threadIdx.x] = sum;
  barrier();
  if (threadIdx.x != 0 || threadIdx.y != 0) return;
  double all = 0.0;
  for (int i = 0; i < kWarpSize; ++i) all = all + sums[i];
  *total = all;
}

// One row per thread.
__global__ void limit_norms_kernel(Index rows, Index n, float* x, float most) {
  for_flat(rows, [&](Index row) {
    float* const v = x + row * n;
    double squares = 0.0;
    for (Index i = 0; i < n; ++i) squares = squares + static_cast<double>(v[i]) * static_cast<double>(v[i]);
    const double norm = ::sqrt(squares);
    if (!(norm > static_cast<double>(most))) return;
    const float factor = static_cast<float>(static_cast<double>(most) / norm);
    for (Index i = 0; i < n; ++i) v[i] = v[i] * factor;
  });
}

__global__ void blend_kernel(Index count, float share, const float* from, float* to) {
  for_flat(count, [&](Index i) { to[i] = mul_add(from[i] - to[i], share, to[i]); });
}

// ---- what the table calls ----

void sgd(Stream stream, const Update& u) {
  launch(sgd_kernel, flat_grid(u.count), kFlatThreads, 0, device_stream(stream), u);
}

void adam(Stream stream, const Update& u) {
  launch(adam_kernel, flat_grid(u.count), kFlatThreads, 0, device_stream(stream), u);
}

// The host waits for the sum: once per parameter and update.
double sum_squares(Stream stream, Index count, const float* x) {
  const cudaStream_t s = device_stream(stream).stream;
  auto* const total = static_cast<double*>(malloc_async(sizeof(double), s));
  launch(sum_squares_kernel, dim3(1), slices_block(), 0, device_stream(stream), count, x, total);
  double sum = 0.0;
  memcpy_async(&sum, total, sizeof sum, s, cudaMemcpyDeviceToHost);
  synchronize(s);
  free_async(total, s);
  return sum;
}

void limit_norms(Stream stream, Index rows, Index n, float* x, float most) {
  launch(limit_norms_kernel, flat_grid(rows), kFlatThreads, 0, device_stream(stream), rows, n, x, most);
}

void blend(Stream stream, Index count, float share, const float* from, float* to) {
  launch(blend_kernel, flat_grid(count), kFlatThreads, 0, device_stream(stream), count, share, from, to);
}

}  // namespace

void add_optim(Kernels& k) {
  k.sgd = sgd;
  k.adam = adam;
  k.sum_squares = sum_squares;
  k.limit_norms = limit_norms;
  k.blend = blend;
}

}  // namespace epsball::cuda
