// Parameter updates of the optimisers, one parameter per thread; mirrors cpp/optim.cpp.
#include "launch.cuh"

#include "flat.cuh"
#include "formulas.h"
#include "table.cuh"

namespace epsball::cuda {
namespace {

__device__ __forceinline__ float decayed_gradient(const Update& u, Index i, float p) {
  float g = u.gradient[i];
  if (u.l2 != 0.0f) g = mul_add(p, u.l2, g);
  if (u.l1 != 0.0f) g = mul_add(sign(p), u.l1, g);
  return g;
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
    u.parameter[i] = p - g * u.rate;
  });
}

// Adam (Kingma and Ba 2015) with bias correction.
__global__ void adam_kernel(Update u) {
  for_flat(u.count, [&](Index i) {
    const float p = u.parameter[i], g = decayed_gradient(u, i, p);
    const float m = u.moment1[i] * u.beta1 + g * (1.0f - u.beta1);
    const float v = u.moment2[i] * u.beta2 + g * g * (1.0f - u.beta2);
    u.moment1[i] = m;
    u.moment2[i] = v;
    u.parameter[i] = p - (m / u.correction1 * u.rate) / (sqrt(v / u.correction2) + u.epsilon);
  });
}

// ---- what the table calls ----

void sgd(Stream stream, const Update& u) {
  launch(sgd_kernel, flat_grid(u.count), kFlatThreads, 0, device_stream(stream), u);
}

void adam(Stream stream, const Update& u) {
  launch(adam_kernel, flat_grid(u.count), kFlatThreads, 0, device_stream(stream), u);
}

}  // namespace

void add_optim(Kernels& k) {
  k.sgd = sgd;
  k.adam = adam;
}

}  // namespace epsball::cuda
