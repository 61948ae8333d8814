// Maxout: maxima over the pieces of each unit, one unit per thread; mirrors cpp/maxout.cpp.
#include "launch.cuh"

#include "elements.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// The larger of the two, NaN where either is.
__device__ __forceinline__ float larger(float a, float b) { return b > a ? b : a >= b ? a : a + b; }

// ---- kernels ----

__global__ void maxout_forward_kernel(MaxoutRows a, const std::int32_t* active) {
  for_elements(rows_now(a.rows, active), a.units, [&](Index r, Index u) {
    const float* x = a.x + r * a.ldx + u;
    float y = x[0];
    for (Index p = 1; p < a.pieces; ++p) y = larger(y, x[p * a.units]);
    a.y[r * a.ldy + u] = y;
  });
}

// The gradient goes to the first piece that has the maximum.
__global__ void maxout_backward_kernel(MaxoutRows a, const std::int32_t* active) {
  for_elements(rows_now(a.rows, active), a.units, [&](Index r, Index u) {
    const float* x = a.x + r * a.ldx + u;
    float* dx = a.dx + r * a.lddx + u;
    const float y = a.y[r * a.ldy + u];
    float left = a.dy[r * a.lddy + u];
    for (Index p = 0; p < a.pieces; ++p) {
      const bool hit = x[p * a.units] == y;
      dx[p * a.units] = hit ? left : 0.0f;
      if (hit) left = 0.0f;
    }
  });
}

// ---- what the table calls ----

void maxout_forward(Stream stream, const MaxoutRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(maxout_forward_kernel, elements_grid(a.rows, a.units), elements_block(), 0, s, a, s.active);
}

void maxout_backward(Stream stream, const MaxoutRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(maxout_backward_kernel, elements_grid(a.rows, a.units), elements_block(), 0, s, a, s.active);
}

}  // namespace

void add_maxout(Kernels& k) {
  k.maxout_forward = maxout_forward;
  k.maxout_backward = maxout_backward;
}

}  // namespace epsball::cuda
