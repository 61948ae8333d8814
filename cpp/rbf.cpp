// Squared distances of rows from centres, and their gradients: sums of differences, tile by tile in registers.
//
// Every output is one chain of multiply-adds over features (backward: over units), whatever tile it lies in.
#include "panel.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

// The height of a tile of V vectors: forward, rows of sums beside V vectors of centres; backward the rows' own values
// stay in registers as well.
constexpr int kForwardRows = kAccumulators / kTileVecs;
constexpr int kBackwardVecs = 2;
constexpr int kBackwardRows = kAccumulators / 4;

EPSBALL_INLINE Index least(Index a, Index b) { return a < b ? a : b; }

// Calls tile<R>(row) down the rows: full tiles of Rows, then one of the rows that are left.
template <int Rows, class Tile>
EPSBALL_INLINE void for_tiles(Index rows, Tile tile) {
  Index row = 0;
  for (; row + Rows <= rows; row += Rows) tile.template operator()<Rows>(row);
  if constexpr (Rows > 1)
    if (row < rows) with_count<Rows - 1>(rows - row, [&]<int R>() { tile.template operator()<R>(row); });
}

// ---- forward: the lanes run along units ----

template <int Rows, int Vecs, bool Diagonal>
void forward_tile(const RbfRows& a, Index row, Index col) {
  constexpr Index width = Vecs * kLanes;
  const float *x = a.x + row * a.ldx, *centre = a.centre + col * a.features;
  const float* scale = a.scale + (Diagonal ? col * a.features : col);
  Vec sum[Rows][Vecs];
#pragma GCC unroll 24
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) sum[r][v] = Vec{};
  for (Index p = 0; p < a.features; ++p) {
    Vec c[Vecs], s[Vecs];
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) {
      c[v] = load(centre + p * width + v * kLanes);
      if (Diagonal) s[v] = load(scale + p * width + v * kLanes);
    }
#pragma GCC unroll 24
    for (int r = 0; r < Rows; ++r) {
      const Vec xv = splat<Vec>(x[r * a.ldx + p]);
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) {
        Vec d = xv - c[v];
        if (Diagonal) d = d * s[v];
        sum[r][v] = mul_add(d, d, sum[r][v]);
      }
    }
  }
#pragma GCC unroll 24
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) {
      const Index n = least(kLanes, a.units - col - v * kLanes);
      if (!Diagonal) {
        const Vec s = load(scale + v * kLanes, n);
        sum[r][v] = sum[r][v] * (s * s);
      }
      store(a.y + (row + r) * a.ldy + col + v * kLanes, Vec{} - sum[r][v], n);
    }
}

void rbf_forward(Stream, const RbfRows& a) {
  for (Index col = a.first; col < a.last; col += kPanel)
    with_count<kTileVecs>(panel_vecs(a.units, col), [&]<int V>() {
      for_tiles<kForwardRows>(a.rows, [&]<int R>(Index row) {
        a.diagonal ? forward_tile<R, V, true>(a, row, col) : forward_tile<R, V, false>(a, row, col);
      });
    });
}

// ---- backward: the lanes run along features ----

constexpr Index kBlock = 128;  // units whose weights are made at a time

// weight[r][j] = -2 dy(r, j), times scale(j)^2 where that is one number.
template <int Rows, bool Diagonal>
EPSBALL_INLINE void weights(const RbfRows& a, Index row, Index unit, Index units, float (*weight)[kBlock]) {
  for (int r = 0; r < Rows; ++r)
    for_lanes(units, [&](Index j, Index n) {
      Vec w = load(a.dy + (row + r) * a.lddy + unit + j, n) * -2.0f;
      if (!Diagonal) {
        const Vec s = load(a.scale + unit + j, n);
        w = w * (s * s);
      }
      store(weight[r] + j, w, n);
    });
}

// Adds a block of units up in dx, for Vecs vectors from column `col` on, whose panel is `width` floats wide.
template <int Rows, int Vecs, bool Diagonal>
void backward_tile(const RbfRows& a, Index row, Index col, Index width, Index unit) {
  const Index units = least(kBlock, a.units - unit);
  const Index panel = col / kPanel * kPanel, at = panel * a.units + unit * width + (col - panel);
  const auto lanes = [&](int v) { return least(kLanes, a.features - col - v * kLanes); };
  const float* from = a.x + row * a.ldx + col;
  float* to = a.dx + row * a.lddx + col;
  Vec x[Rows][Vecs], sum[Rows][Vecs];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < Vecs; ++v) {
      x[r][v] = load(from + r * a.ldx + v * kLanes, lanes(v));
      sum[r][v] = unit == 0 ? Vec{} : load(to + r * a.lddx + v * kLanes, lanes(v));
    }
  alignas(64) float weight[Rows][kBlock];
  weights<Rows, Diagonal>(a, row, unit, units, weight);
  for (Index j = 0; j < units; ++j) {
    Vec c[Vecs], s2[Vecs];
#pragma GCC unroll 2
    for (int v = 0; v < Vecs; ++v) {
      c[v] = load(a.centre + at + j * width + v * kLanes);
      if (Diagonal) {
        const Vec s = load(a.scale + at + j * width + v * kLanes);
        s2[v] = s * s;
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const Vec w = splat<Vec>(weight[r][j]);
#pragma GCC unroll 2
      for (int v = 0; v < Vecs; ++v) {
        Vec d = x[r][v] - c[v];
        if (Diagonal) d = d * s2[v];
        sum[r][v] = mul_add(w, d, sum[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < Vecs; ++v) store(to + r * a.lddx + v * kLanes, sum[r][v], lanes(v));
}

// A block of centres stays in L1 while all rows go over it.
template <int Vecs>
EPSBALL_INLINE void backward_columns(const RbfRows& a, Index col, Index width) {
  for (Index unit = 0; unit < a.units; unit += kBlock)
    for_tiles<kBackwardRows>(a.rows, [&]<int R>(Index row) {
      a.diagonal ? backward_tile<R, Vecs, true>(a, row, col, width, unit)
                 : backward_tile<R, Vecs, false>(a, row, col, width, unit);
    });
}

void rbf_backward(Stream, const RbfRows& a) {
  for (Index col = a.first; col < a.last; col += kBackwardVecs * kLanes) {
    const Index width = panel_vecs(a.features, col / kPanel * kPanel) * kLanes;
    const Index vecs = least(kBackwardVecs, (a.features - col + kLanes - 1) / kLanes);
    with_count<kBackwardVecs>(vecs, [&]<int V>() { backward_columns<V>(a, col, width); });
  }
}

// ---- gradients of the parameters: the lanes run along features ----

constexpr int kGradientUnits = 4;

// Where the vector of features from i on of a unit stands in a matrix that is packed for the backward pass.
EPSBALL_INLINE Index packed_at(const RbfGradient& a, Index unit, Index i) {
  const Index panel = i / kPanel * kPanel, width = panel_vecs(a.features, panel) * kLanes;
  return panel * a.units + unit * width + (i - panel);
}

// Adds up g d and g d^2 over the rows, d being x - centre, for Units units from `unit` on and a vector of features.
template <int Units>
EPSBALL_INLINE void moments(const RbfGradient& a, Index unit, Index i, Index n, Vec* first, Vec* second) {
  Vec c[Units];
#pragma GCC unroll 4
  for (int u = 0; u < Units; ++u) {
    c[u] = load(a.centre + packed_at(a, unit + u, i));
    first[u] = second[u] = Vec{};
  }
  for (Index r = 0; r < a.rows; ++r) {
    const Vec x = load(a.x + r * a.ldx + i, n);
#pragma GCC unroll 4
    for (int u = 0; u < Units; ++u) {
      const Vec g = splat<Vec>(a.dy[r * a.lddy + unit + u]), d = x - c[u];
      first[u] = mul_add(g, d, first[u]);
      second[u] = mul_add(g * d, d, second[u]);
    }
  }
}

template <int Units>
void gradient_tile(const RbfGradient& a, Index unit) {
  Vec total[Units];
  for (int u = 0; u < Units; ++u) total[u] = Vec{};
  for_lanes(a.features, [&](Index i, Index n) {
    Vec first[Units], second[Units];
    moments<Units>(a, unit, i, n, first, second);
    for (int u = 0; u < Units; ++u) {
      const Index at = (unit + u) * a.features + i;
      const Vec s = a.diagonal ? load(a.scale + packed_at(a, unit + u, i)) : splat<Vec>(a.scale[unit + u]);
      store(a.dcentre + at, first[u] * (s * s) * 2.0f, n);
      if (a.diagonal)
        store(a.dscale + at, second[u] * s * -2.0f, n);
      else
        total[u] = total[u] + first_lanes(second[u], n);
    }
  });
  if (!a.diagonal)
    for (int u = 0; u < Units; ++u) a.dscale[unit + u] = sum(total[u]) * a.scale[unit + u] * -2.0f;
}

void rbf_gradient(Stream, const RbfGradient& a) {
  for (Index unit = a.first; unit < a.last; unit += kGradientUnits)
    with_count<kGradientUnits>(least(kGradientUnits, a.last - unit), [&]<int U>() { gradient_tile<U>(a, unit); });
}

}  // namespace

void add_rbf(Kernels& k) {
  k.rbf_forward = rbf_forward;
  k.rbf_backward = rbf_backward;
  k.rbf_gradient = rbf_gradient;
}

}  // namespace epsball::EPSBALL_ISA
