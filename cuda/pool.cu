// Max and average pooling of images, channels last; mirrors cpp/pool.cpp. A thread takes one value of one row.
#include "launch.cuh"

#include "activation.h"
#include "elements.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// ---- kernels ----

// The part of an output's window that lies inside the image: its first pixel, rows and columns.
struct Inside {
  Index first, rows, columns;
};
__device__ Inside window(const Pool& p, Index oy, Index ox) {
  const Taps down = p.down[oy], across = p.across[ox];
  return {down.first * p.in_width + across.first, down.count, across.count};
}

// Calls f(offset of the tap's value of channel c) in order.
template <class F>
__device__ __forceinline__ void for_taps(const Pool& p, const Inside& w, Index c, F f) {
  for (Index y = 0; y < w.rows; ++y)
    for (Index x = 0; x < w.columns; ++x) f((w.first + y * p.in_width + x) * p.channels + c);
}

__device__ float share(const Pool& p) { return 1.0f / static_cast<float>(p.taps); }

__global__ void forward_kernel(Pool p, const std::int32_t* active) {
  for_elements(rows_now(p.rows, active), p.out_height * p.out_width * p.channels, [&](Index r, Index i) {
    const Index pixel = i / p.channels;
    const Inside w = window(p, pixel / p.out_width, pixel % p.out_width);
    const float* x = p.x + r * p.ldx;
    float v = p.kind == PoolKind::max ? -3.40282347e38f : 0.0f;
    for_taps(p, w, i % p.channels, [&](Index tap) { v = p.kind == PoolKind::max ? max(v, x[tap]) : v + x[tap]; });
    p.y[r * p.ldy + i] = p.kind == PoolKind::max ? v : v * share(p);
  });
}

// Windows that tile the input: each writes the gradients of its own inputs. A maximum's goes to the first that has it.
__global__ void tiled_backward_kernel(Pool p, const std::int32_t* active) {
  for_elements(rows_now(p.rows, active), p.out_height * p.out_width * p.channels, [&](Index r, Index i) {
    const Index pixel = i / p.channels;
    const Inside w = window(p, pixel / p.out_width, pixel % p.out_width);
    const float *x = p.x + r * p.ldx, y = p.y[r * p.ldy + i], dy = p.dy[r * p.lddy + i];
    bool found = false;
    for_taps(p, w, i % p.channels, [&](Index tap) {
      const bool hit = x[tap] == y && !found;
      found |= hit;
      const float d = p.kind == PoolKind::average ? dy * share(p) : hit ? dy : 0.0f;
      const bool plain = p.derivative.kind == Activation::identity;
      p.dx[r * p.lddx + tap] = plain ? d : d * derivative(p.derivative, x[tap]);
    });
  });
}

// Whether `tap` is the first of its window that has the maximum.
__device__ bool is_first(const Pool& p, const Inside& w, Index c, const float* x, float y, Index tap) {
  bool earlier = false;
  for_taps(p, w, c, [&](Index other) { earlier |= other < tap && x[other] == y; });
  return x[tap] == y && !earlier;
}

__device__ bool covers(const Taps& t, Index i) { return t.first <= i && i < t.first + t.count; }

// Windows that overlap: every input adds up, in order, what the windows around it hand down.
__global__ void backward_kernel(Pool p, const std::int32_t* active) {
  for_elements(rows_now(p.rows, active), p.in_height * p.in_width * p.channels, [&](Index r, Index i) {
    const Index pixel = i / p.channels, c = i % p.channels;
    const Index iy = pixel / p.in_width, ix = pixel % p.in_width;
    const float* x = p.x + r * p.ldx;
    float sum = 0.0f;
    for (Index oy = 0; oy < p.out_height; ++oy) {
      if (!covers(p.down[oy], iy)) continue;
      for (Index ox = 0; ox < p.out_width; ++ox) {
        if (!covers(p.across[ox], ix)) continue;
        const Index out = (oy * p.out_width + ox) * p.channels + c;
        const float dy = p.dy[r * p.lddy + out];
        if (p.kind == PoolKind::average)
          sum = sum + dy * share(p);
        else if (is_first(p, window(p, oy, ox), c, x, p.y[r * p.ldy + out], i))
          sum = sum + dy;
      }
    }
    p.dx[r * p.lddx + i] = sum;
  });
}

// ---- what the table calls ----

void pool_forward(Stream stream, const Pool& p) {
  const DeviceStream s = device_stream(stream);
  launch(forward_kernel, elements_grid(p.rows, p.out_height * p.out_width * p.channels), elements_block(), 0, s, p,
         s.active);
}

void pool_backward(Stream stream, const Pool& p) {
  const DeviceStream s = device_stream(stream);
  const Index pixels = p.tiled ? p.out_height * p.out_width : p.in_height * p.in_width;
  launch(p.tiled ? tiled_backward_kernel : backward_kernel, elements_grid(p.rows, pixels * p.channels),
         elements_block(), 0, s, p, s.active);
}

}  // namespace

void add_pool(Kernels& k) {
  k.pool_forward = pool_forward;
  k.pool_backward = pool_backward;
}

}  // namespace epsball::cuda
