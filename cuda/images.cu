// Images under attack: filters, and other sizes; mirrors cpp/images.cpp.
#include "launch.cuh"

#include "attacks/resize_row.h"
#include "elements.cuh"
#include "row.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// ---- kernels ----

// One axis of the filter: pixels lie `step` apart along it, and the pixel's own place there is k / step % size.
__global__ void blur_kernel(BlurRows a, const float* x, float* out, Index size, Index step,
                            const std::int32_t* active) {
  for_elements(rows_now(a.rows, active), a.channels * a.height * a.width, [&](Index r, Index k) {
    const Index at = k / step % size, middle = (a.count - 1) / 2;
    float sum = 0.0f;
    for (Index t = 0; t < a.count; ++t) {
      const Index from = at + t - middle;
      if (from >= 0 && from < size) sum = mul_add(x[r * a.ld + k + (t - middle) * step], a.taps[t], sum);
    }
    out[r * a.ld + k] = sum;
  });
}

// Pixel (i, j) of one channel of a smaller image, which lies somewhere on black.
__device__ float shrunk(const ResizeRows& a, const Resized& to, const float* x, Index i, Index j) {
  const Index y = i - to.top, z = j - to.left;
  if (y < 0 || y >= to.tall || z < 0 || z >= to.wide) return 0.0f;
  const Shares down = shares(y, to.tall, a.height), across = shares(z, to.wide, a.width);
  const auto line = [&](Index q) {
    return mul_add(x[down.next * a.width + q], down.second, x[down.at * a.width + q] * down.first);
  };
  return mul_add(line(across.next), across.second, line(across.at) * across.first);
}

// The sum of f(to) times its share over the pixels of `few` that take from pixel `from` of `many`, in order.
template <class F>
__device__ float gathered(Index from, Index few, Index many, F f) {
  const float at = (static_cast<float>(from) + 0.5f) * static_cast<float>(few) / static_cast<float>(many) - 0.5f;
  const Index middle = static_cast<Index>(at < 0.0f ? 0.0f : at);
  float sum = 0.0f;
  for (Index to = middle > 1 ? middle - 2 : 0; to < few && to < middle + 3; ++to) {
    const Shares s = shares(to, few, many);
    if (s.at == from) sum = mul_add(f(to), s.first, sum);
    if (s.next == from) sum = mul_add(f(to), s.second, sum);
  }
  return sum;
}

// Pixel (i, j) of what the transpose makes of x.
__device__ float shrunk_back(const ResizeRows& a, const Resized& to, const float* x, Index i, Index j) {
  return gathered(i, to.tall, a.height, [&](Index y) {
    const float* const line = x + (to.top + y) * a.width + to.left;
    return gathered(j, to.wide, a.width, [&](Index z) { return line[z]; });
  });
}

__global__ void resize_kernel(ResizeRows a, const std::int32_t* active) {
  for_rows(rows_now(a.rows, active), [&](Index row) {
    const Resized to = resized(a, row);
    const Index pixels = a.height * a.width;
    for_features(a.channels * pixels, [&](Index k) {
      const float* const x = a.x + row * a.ld + k / pixels * pixels;
      const Index i = k % pixels / a.width, j = k % a.width;
      a.out[row * a.ld + k] = !to.moves    ? x[k % pixels]
                              : a.gradient ? shrunk_back(a, to, x, i, j)
                                           : shrunk(a, to, x, i, j);
    });
  });
}

// ---- what the table calls ----

void blur(Stream stream, const BlurRows& a) {
  const DeviceStream s = device_stream(stream);
  const dim3 grid = elements_grid(a.rows, a.channels * a.height * a.width);
  launch(blur_kernel, grid, elements_block(), 0, s, a, a.x, a.between, a.height, a.width, s.active);
  launch(blur_kernel, grid, elements_block(), 0, s, a, static_cast<const float*>(a.between), a.out, a.width, Index{1},
         s.active);
}

void resize(Stream stream, const ResizeRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(resize_kernel, rows_grid(a.rows), kRowThreads, 0, s, a, s.active);
}

}  // namespace

void add_images(Kernels& k) {
  k.blur = blur;
  k.resize = resize;
}

}  // namespace epsball::cuda
