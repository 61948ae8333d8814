// A step of L-infinity PGD through one linear layer of few outputs, from the logits' gradient to the next logits: each
// row is read and written once, where the two products one after another would do so twice.
//
// The gradient is gemm's chain and the logits are those of dots (gemm.cpp), so that the bits are the same.
#include "attacks/pgd_rows.h"
#include "panel.h"
#include "sign_step.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

// Rows of a tile: a sum for each of their outputs, besides the gradients of kWide vectors, fits the registers.
constexpr int kWide = 2;
constexpr int kRegisters = EPSBALL_LANES >= 16 || EPSBALL_LANES == 4 ? 32 : 16;
constexpr int rows_of_tile(int outputs) { return 2 * outputs + 2 * kWide + 2 <= kRegisters ? 2 : 1; }

// In a register: GCC would load it again for each use.
template <bool Often>
EPSBALL_INLINE Vec load_once(const float* p) {
  Vec v = load(p);
#if EPSBALL_LANES == 16
  if (Often) asm("" : "+v"(v));
#endif
  return v;
}

// Rows x Outputs sums over the features, as they grow.
template <int Rows, int Outputs>
struct Tile {
  const LinearStep& a;
  const Index row;
  Vec sum[Rows][Outputs] = {};
  StepOfRow step[Rows];

  // Vecs vectors of features from `col` on, of which n in the last one exist; `w` is their part of the packed weights.
  template <int Vecs>
  EPSBALL_INLINE void add(Index col, Index n, const float* w, Index width) {
    Vec v[Rows][Vecs] = {};
#pragma GCC unroll 16
    for (int j = 0; j < Outputs; ++j)
#pragma GCC unroll 2
      for (int i = 0; i < Vecs; ++i) {
        const Vec weight = load_once<(Rows > 1)>(w + j * width + i * kLanes);
#pragma GCC unroll 2
        for (int r = 0; r < Rows; ++r)
          v[r][i] = mul_add(splat<Vec>(a.dlogits[(row + r) * a.dlogits_ld + j]), weight, v[r][i]);
      }
#pragma GCC unroll 2
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
      for (int i = 0; i < Vecs; ++i) v[r][i] = step[r].take(col + i * kLanes, v[r][i], i + 1 < Vecs ? kLanes : n);
#pragma GCC unroll 16
    for (int j = 0; j < Outputs; ++j)
#pragma GCC unroll 2
      for (int i = 0; i < Vecs; ++i) {
        const Vec weight = load_once<(Rows > 1)>(w + j * width + i * kLanes);
#pragma GCC unroll 2
        for (int r = 0; r < Rows; ++r) sum[r][j] = mul_add(v[r][i], weight, sum[r][j]);
      }
  }
};

template <int Rows, int Outputs>
void tile(const LinearStep& a, Index row) {
  const Index in = a.layer.in;
  Tile<Rows, Outputs> t{a, row, {}, {}};
  for (int r = 0; r < Rows; ++r) t.step[r] = StepOfRow(a.step, row + r);
  Index col = 0;
  const float* w = a.layer.backward;
  for (; col + kPanel <= in; col += kPanel, w += Outputs * kPanel)
    for (int i = 0; i < kTileVecs; i += kWide) t.template add<kWide>(col + i * kLanes, kLanes, w + i * kLanes, kPanel);
  const Index width = panel_vecs(in, col) * kLanes;
  for (; col < in; col += kLanes, w += kLanes) t.template add<1>(col, in - col < kLanes ? in - col : kLanes, w, width);
  for (int r = 0; r < Rows; ++r) {
    t.step[r].finish();
    for (int j = 0; j < Outputs; ++j) {
      const float z = sum(t.sum[r][j]) + 0.0f;  // no -0, as in gemm.cpp
      a.logits[(row + r) * a.logits_ld + j] = a.layer.bias ? z + a.layer.bias[j] : z;
    }
  }
}

template <int Outputs>
void all_rows(const LinearStep& a) {
  constexpr int kRows = rows_of_tile(Outputs);
  Index row = 0;
  for (; row + kRows <= a.rows; row += kRows) tile<kRows, Outputs>(a, row);
  for (; row < a.rows; ++row) tile<1, Outputs>(a, row);
}

void linear_step(Stream, const LinearStep& a) {
  with_count<kNarrow>(a.layer.out, [&]<int Outputs>() { all_rows<Outputs>(a); });
}

}  // namespace

void add_linear_step(Kernels& k) { k.linear_step = linear_step; }

}  // namespace epsball::EPSBALL_ISA
