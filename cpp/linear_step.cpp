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

// Rows of a tile: a sum for each of their outputs, besides two vectors of each row, fits the registers.
constexpr int kRegisters = EPSBALL_LANES >= 16 || EPSBALL_LANES == 4 ? 32 : 16;
constexpr int rows_of_tile(int outputs) { return 2 * outputs + 4 + 2 <= kRegisters ? 2 : 1; }

// In a register: GCC would load it again for each use.
template <bool Often>
EPSBALL_INLINE Vec load_once(const float* p) {
  Vec v = load(p);
#if EPSBALL_LANES == 16
  if (Often) asm("" : "+v"(v));
#endif
  return v;
}

// Rows x Outputs sums over the features, as they grow. The chains of multiply-adds to a gradient wait for each other's
// ends, so the gradient of a vector of features is taken among the sums of the vector before.
template <int Rows, int Outputs>
struct Tile {
  const LinearStep& a;
  const Index row;
  StepOfRow step[Rows] = {};
  Vec sum[Rows][Outputs] = {};
  Vec x[Rows] = {};  // the vector before, where the step has led: 0 ahead of the first one
  const float* w;    // its weights, w_ld from output to output
  Index w_ld = 0;

  Tile(const LinearStep& args, Index first) : a(args), row(first), w(a.layer.backward) {
    for (int r = 0; r < Rows; ++r) step[r] = StepOfRow(a.step, row + r);
  }
  EPSBALL_INLINE void add_to_sums(int j) {
    const Vec weight = load_once<(Rows > 1)>(w + j * w_ld);
#pragma GCC unroll 2
    for (int r = 0; r < Rows; ++r) sum[r][j] = mul_add(x[r], weight, sum[r][j]);
  }
  // Steps features col .. col + n - 1, whose weights are `next`.
  EPSBALL_INLINE void take(Index col, Index n, const float* next, Index next_ld) {
    Vec gradient[Rows] = {};
#pragma GCC unroll 16
    for (int j = 0; j < Outputs; ++j) {
      const Vec weight = load_once<(Rows > 1)>(next + j * next_ld);
#pragma GCC unroll 2
      for (int r = 0; r < Rows; ++r)
        gradient[r] = mul_add(splat<Vec>(a.dlogits[(row + r) * a.dlogits_ld + j]), weight, gradient[r]);
      add_to_sums(j);
    }
#pragma GCC unroll 2
    for (int r = 0; r < Rows; ++r) x[r] = step[r].take(col, gradient[r], n);
    w = next;
    w_ld = next_ld;
  }
  EPSBALL_INLINE void finish() {
#pragma GCC unroll 16
    for (int j = 0; j < Outputs; ++j) add_to_sums(j);
#pragma GCC unroll 2
    for (int r = 0; r < Rows; ++r) step[r].finish();
  }
  void store_logits(int r) const {
    float* const to = a.logits + (row + r) * a.logits_ld;
    for_sums<Outputs>(sum[r], [&](int first, int n, Vec sums) {
      const Vec z = sums + 0.0f;  // no -0, as in gemm.cpp
      store(to + first, a.layer.bias ? z + load(a.layer.bias + first, n) : z, n);
    });
  }
};

template <int Rows, int Outputs>
void tile(const LinearStep& a, Index row) {
  const Index in = a.layer.in;
  Tile<Rows, Outputs> t(a, row);
  Index col = 0;
  const float* w = a.layer.backward;
  for (; col + kPanel <= in; col += kPanel, w += Outputs * kPanel)
    for (int i = 0; i < kTileVecs; ++i) t.take(col + i * kLanes, kLanes, w + i * kLanes, kPanel);
  const Index width = panel_vecs(in, col) * kLanes;
  for (; col < in; col += kLanes, w += kLanes) t.take(col, in - col < kLanes ? in - col : kLanes, w, width);
  t.finish();
  for (int r = 0; r < Rows; ++r) t.store_logits(r);
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
