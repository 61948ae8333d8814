// Squared distances of rows from centres, and their gradients; mirrors cpp/rbf.cpp. Packed matrices lie as in gemm.cu.
//
// Every output is one chain of multiply-adds over features (backward: over units), as it is on a CPU.
#include "launch.cuh"

#include "formulas.h"
#include "table.cuh"
#include "tile.cuh"

namespace epsball::cuda {
namespace {

constexpr int kGradientThreads = 256;

// ---- kernels ----

// What a distance reads beside x, where every feature has a scale of its own.
struct Scaled {
  float centre, scale;
};

// Element `at` of the packed centres, with its scale where Diagonal.
template <bool Diagonal>
__device__ __forceinline__ auto centre_at(const RbfRows& a, Index at) {
  if constexpr (Diagonal)
    return Scaled{a.centre[at], a.scale[at]};
  else
    return a.centre[at];
}

// Writes a tile's finished sums: f(row, column, sum) for those that exist.
template <class Shape, class F>
__device__ __forceinline__ void for_done(const float (&done)[Shape::height][Shape::width], Index row, Index rows,
                                         Index col, Index last, F f) {
  for (int e = static_cast<int>(threadIdx.x); e < Shape::height * Shape::width; e += kTileThreads) {
    const int i = e / Shape::width, j = e % Shape::width;
    if (row + i < rows && col + j < last) f(row + i, col + j, done[i][j]);
  }
}

template <class Shape, bool Diagonal>
__global__ void __launch_bounds__(kTileThreads, 3) forward_kernel(RbfRows a, const std::int32_t* active) {
  using Centre = decltype(centre_at<Diagonal>(a, 0));
  constexpr int kHeight = Shape::height, kWidth = Shape::width;
  const Index rows = rows_now(a.rows, active), row = Index{blockIdx.x} * kHeight;
  if (row >= rows) return;  // the whole block
  const Index col = a.first + Index{blockIdx.y} * kWidth, ld = packed_ld(a.units);
  float sum[Shape::rows][Shape::columns] = {};
  tile_chains<Shape>(
      a.features, true, [&](int i, Index p) { return row + i < rows ? a.x[(row + i) * a.ldx + p] : 0.0f; },
      [&](Index p, int j) { return col + j < a.last ? centre_at<Diagonal>(a, p * ld + col + j) : Centre{}; },
      [](float s, float x, Centre c, int, int) {
        float d;
        if constexpr (Diagonal)
          d = (x - c.centre) * c.scale;
        else
          d = x - c;
        return mul_add(d, d, s);
      },
      sum);
  SHARED_ARRAY(float, done, [kHeight][kWidth]);
  share_tile<Shape>(sum, done);
  for_done<Shape>(done, row, rows, col, a.last, [&](Index r, Index j, float total) {
    if (!Diagonal) total = total * (a.scale[j] * a.scale[j]);
    a.y[r * a.ldy + j] = 0.0f - total;
  });
}

// The left matrix holds -2 dy, times scale^2 where that is one number; x stays in registers.
template <bool Diagonal>
__global__ void __launch_bounds__(kTileThreads, 2) backward_kernel(RbfRows a, const std::int32_t* active) {
  using Shape = WideTile;
  using Centre = decltype(centre_at<Diagonal>(a, 0));
  constexpr int kHeight = Shape::height, kWidth = Shape::width;
  const Index rows = rows_now(a.rows, active), row = Index{blockIdx.x} * kHeight;
  if (row >= rows) return;  // the whole block
  const Index col = a.first + Index{blockIdx.y} * kWidth, ld = packed_ld(a.features);
  float sum[Shape::rows][Shape::columns] = {}, x[Shape::rows][Shape::columns];
  EPSBALL_UNROLL
  for (int r = 0; r < Shape::rows; ++r) EPSBALL_UNROLL
  for (int c = 0; c < Shape::columns; ++c) {
    const Index i = row + Shape::row() + r, j = col + Shape::column() + c;
    x[r][c] = i < rows && j < a.last ? a.x[i * a.ldx + j] : 0.0f;
  }
  tile_chains<Shape>(
      a.units, true,
      [&](int i, Index p) {
        if (row + i >= rows) return 0.0f;
        const float weight = a.dy[(row + i) * a.lddy + p] * -2.0f;
        return Diagonal ? weight : weight * (a.scale[p] * a.scale[p]);
      },
      [&](Index p, int j) { return col + j < a.last ? centre_at<Diagonal>(a, p * ld + col + j) : Centre{}; },
      [&](float s, float weight, Centre c, int r, int j) {
        float d;
        if constexpr (Diagonal)
          d = (x[r][j] - c.centre) * (c.scale * c.scale);
        else
          d = x[r][j] - c;
        return mul_add(weight, d, s);
      },
      sum);
  SHARED_ARRAY(float, done, [kHeight][kWidth]);
  share_tile<Shape>(sum, done);
  for_done<Shape>(done, row, rows, col, a.last, [&](Index r, Index j, float total) { a.dx[r * a.lddx + j] = total; });
}

// A block per unit: its threads take features, and sum over the rows in order.
__global__ void gradient_kernel(RbfGradient a, const std::int32_t* active) {
  const Index unit = a.first + blockIdx.x, rows = rows_now(a.rows, active);
  float total = 0.0f;
  for (Index i = threadIdx.x; i < a.features; i += kGradientThreads) {
    const Index at = unit * a.features + i, packed = unit * packed_ld(a.features) + i;
    const float centre = a.centre[packed], s = a.diagonal ? a.scale[packed] : a.scale[unit];
    float first = 0.0f, second = 0.0f;
    for (Index r = 0; r < rows; ++r) {
      const float g = a.dy[r * a.lddy + unit], d = a.x[r * a.ldx + i] - centre;
      first = mul_add(g, d, first);
      second = mul_add(g * d, d, second);
    }
    a.dcentre[at] = first * (s * s) * 2.0f;
    if (a.diagonal)
      a.dscale[at] = second * s * -2.0f;
    else
      total = total + second;
  }
  total = block_sum(total);
  if (!a.diagonal && threadIdx.x == 0) a.dscale[unit] = total * a.scale[unit] * -2.0f;
}

// ---- what the table calls ----

template <class Shape>
dim3 grid_of(const RbfRows& a) {
  return dim3(static_cast<unsigned>(ceil_div<Index>(a.rows, Shape::height)),
              static_cast<unsigned>(ceil_div<Index>(a.last - a.first, Shape::width)));
}

template <class Shape>
void forward_by(const DeviceStream& s, const RbfRows& a) {
  launch(a.diagonal ? forward_kernel<Shape, true> : forward_kernel<Shape, false>, grid_of<Shape>(a), dim3(kTileThreads),
         0, s, a, s.active);
}

void rbf_forward(Stream stream, const RbfRows& a) {
  const DeviceStream s = device_stream(stream);
  a.last - a.first <= SlimTile::width ? forward_by<SlimTile>(s, a) : forward_by<WideTile>(s, a);
}

void rbf_backward(Stream stream, const RbfRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(a.diagonal ? backward_kernel<true> : backward_kernel<false>, grid_of<WideTile>(a), dim3(kTileThreads), 0, s, a,
         s.active);
}

void rbf_gradient(Stream stream, const RbfGradient& a) {
  const DeviceStream s = device_stream(stream);
  launch(gradient_kernel, dim3(static_cast<unsigned>(a.last - a.first)), dim3(kGradientThreads), 0, s, a, s.active);
}

}  // namespace

void add_rbf(Kernels& k) {
  k.rbf_forward = rbf_forward;
  k.rbf_backward = rbf_backward;
  k.rbf_gradient = rbf_gradient;
}

}  // namespace epsball::cuda
