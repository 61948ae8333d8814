// Matrix products with packed B: tiles of rows x vectors in registers, then the epilogue on each tile.
//
// Every output of gemm is one chain of multiply-adds over p = 0, 1, ..., and every output of dots is kLanes such chains
// and one tree of sums. Tiles of every height and the single-row paths follow them, so a row's bits never depend on
// the batch.
#include "activation.h"
#include "panel.h"
#include "sign_step.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

constexpr Index kLine = 16;     // floats of a cache line
constexpr Index kBlockK = 128;  // a block of B: 32 KB, which stays in L1 with ...
constexpr Index kChunk = 48;    // ... the sums of the rows that share it: 12 KB

// How many of a panel's columns exist.
Index columns(Index n, Index col, Index width) { return n - col < width ? n - col : width; }

// ---- epilogue of a finished tile ----

// A tile of `rows` rows, `ld` floats apart, and `count` columns.
struct Sums {
  const float* data;
  Index ld, rows, row, col, count;

  // Runs f(row, column, vector, n) over the tile. A chain that underflows to -0 may come out as 0 or -0, depending on
  // the zeros of A that were skipped: adding 0 makes it 0.
  template <class F>
  EPSBALL_INLINE void each(F f) const {
    for (Index r = 0; r < rows; ++r)
      for_lanes(count, [&](Index i, Index n) { f(row + r, col + i, load(data + r * ld + i) + 0.0f, n); });
  }
};

// The rows of x, lo and hi are far apart: their lines are asked for while the row before is worked on.
EPSBALL_INLINE void prefetch_row(const SignStep& s, Index row, Index col, Index count) {
  const Index at = row * s.ld + col;
  for (Index i = 0; i < count; i += 16) {
    __builtin_prefetch(s.x + at + i, 1);
    __builtin_prefetch(s.lo + at + i);
    __builtin_prefetch(s.hi + at + i);
  }
}

void finish_step(const Gemm& g, const Sums& sums) {
  const SignStep s = *g.epilogue.step;
  for (Index r = 0; r < sums.rows; ++r) {
    const Index row = sums.row + r;
    if (r + 1 < sums.rows) prefetch_row(s, row + 1, sums.col, sums.count);
    StepOfRow step(s, row, sums.col);
    const float* const gradient = sums.data + r * sums.ld;
    for_lanes(sums.count, [&](Index i, Index n) { step.take(i, load(gradient + i, n), n); });
    step.finish();
  }
}

void finish_derivative(const Gemm& g, const Sums& sums) {
  const ActivationSpec spec = g.epilogue.derivative;
  const float* const saved = g.epilogue.saved;
  const Index saved_ld = g.epilogue.saved_ld, ldc = g.ldc;
  float* const c = g.c;
  const auto with = [&](auto f) {
    sums.each(
        [&](Index r, Index j, Vec v, Index n) { store(c + r * ldc + j, v * f(load(saved + r * saved_ld + j, n)), n); });
  };
  if (spec.kind == Activation::relu)  // the common one, without a look at the kind for every vector
    with([](Vec s) { return derivative({Activation::relu, 0.0f}, s); });
  else
    with([=](Vec s) { return derivative(spec, s); });
}

void finish_forward(const Gemm& g, const Sums& sums) {
  const Epilogue e = g.epilogue;
  const Index ldc = g.ldc;
  float* const c = g.c;
  const auto with = [&](auto f) {
    sums.each([&](Index r, Index j, Vec v, Index n) {
      if (e.bias) v = v + load(e.bias + j, n);
      if (e.pre_activation) store(e.pre_activation + r * ldc + j, v, n);
      store(c + r * ldc + j, f(v), n);
    });
  };
  if (e.activation.kind == Activation::identity)
    with([](Vec v) { return v; });
  else if (e.activation.kind == Activation::relu)
    with([](Vec v) { return activate({Activation::relu, 0.0f}, v); });
  else
    with([=](Vec v) { return activate(e.activation, v); });
}

void finish(const Gemm& g, const Sums& sums) {
  if (g.epilogue.step)
    finish_step(g, sums);
  else if (g.epilogue.saved)
    finish_derivative(g, sums);
  else
    finish_forward(g, sums);
}

// ---- a tile of Rows x Vecs vectors ----

// sum = A[0..Rows, 0..k] B, or sum += if not `first`, over one block of k; rows of sum lie kPanel floats apart. Each
// step of p also asks for one line from `ahead` on: weights too many for L2 come from L3, and the CPU's own prefetchers
// stop at every page. Contiguous: A's elements along k are neighbours, one index reaches all of its rows.
template <int Rows, int Vecs, bool Contiguous>
void tile(Index k, const float* a, Index a_row, Index a_k, const float* b, float* sum, bool first, const float* ahead) {
  Vec acc[Rows][Vecs];
  const float* row[Rows];
#pragma GCC unroll 24
  for (int r = 0; r < Rows; ++r) {
    row[r] = a + r * a_row;
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) acc[r][v] = first ? Vec{} : load(sum + r * kPanel + v * kLanes);
  }
  for (Index p = 0; p < k; ++p) {
    Vec bv[Vecs];
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) bv[v] = load(b + v * kLanes);
    b += Vecs * kLanes;
    __builtin_prefetch(ahead, 0, 2);
    ahead += kLine;
#pragma GCC unroll 24
    for (int r = 0; r < Rows; ++r) {
      Vec av = splat<Vec>(row[r][Contiguous ? p : p * a_k]);
#if EPSBALL_LANES == 16
      if (Vecs > 1) asm("" : "+v"(av));  // one broadcast into a register: GCC would load it again for each use
#endif
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) acc[r][v] = mul_add(av, bv[v], acc[r][v]);
    }
  }
#pragma GCC unroll 24
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) store(sum + r * kPanel + v * kLanes, acc[r][v]);
}

// Full tiles, then one of the rows that are left (along rows that lie apart: tiles of half the height, and so on).
template <int Rows, int Vecs, bool Contiguous>
void block(Index rows, Index k, const float* a, Index a_row, Index a_k, const float* b, float* sum, bool first,
           const float* ahead) {
  Index r = 0;
  for (; r + Rows <= rows; r += Rows) {
    tile<Rows, Vecs, Contiguous>(k, a + r * a_row, a_row, a_k, b, sum + r * kPanel, first, ahead);
    ahead += k * kLine;
  }
  if (r == rows) return;
  a += r * a_row, sum += r * kPanel;
  if constexpr (Rows > 1 && Contiguous)
    with_count<Rows - 1>(rows - r, [&]<int R>() { tile<R, Vecs, Contiguous>(k, a, a_row, a_k, b, sum, first, ahead); });
  else if constexpr (Rows > 1)
    block<Rows / 2, Vecs, Contiguous>(rows - r, k, a, a_row, a_k, b, sum, first, ahead);
}

// One panel of columns: a block of B stays in L1 while kChunk rows of A go over it, and the first of them fetch the
// next.
template <int Vecs, bool Contiguous>
void panel(const Gemm& g, Index col) {
  alignas(64) float sum[kChunk * kPanel];
  constexpr Index width = Vecs * kLanes;
  const float* b = g.b + col * g.k;
  for (Index row = 0; row < g.m; row += kChunk) {
    const Index rows = g.m - row < kChunk ? g.m - row : kChunk;
    for (Index p = 0; p < g.k; p += kBlockK) {
      const Index k = g.k - p < kBlockK ? g.k - p : kBlockK;
      const float *a = g.a + row * g.a_row + p * g.a_k, *now = b + p * width, *next = now + k * width;
      block<kAccumulators / Vecs, Vecs, Contiguous>(rows, k, a, g.a_row, g.a_k, now, sum, p == 0,
                                                    row == 0 ? next : now);
    }
    finish(g, {sum, kPanel, rows, row, col, columns(g.n, col, width)});
  }
}

// ---- one row: a matrix-vector product that skips the zeros of A, which add nothing to the chain ----

// Longer rows take the tile path: the list below lives on the stack.
constexpr Index kRowMaxK = 8192;
// Where A's single row is not zero.
struct NonZero {
  std::int32_t at[kRowMaxK + kLanes];
  Index count = 0;

  explicit NonZero(const Gemm& g) {
    for_lanes(g.k, [&](Index p, Index n) {
      count += store_indices(load(g.a + p, n) != 0.0f, static_cast<std::int32_t>(p), at + count);
    });
  }
};

// Vecs vectors from column `col` on, whose panels are `width` floats wide.
template <int Vecs>
EPSBALL_INLINE void row_chains(const Gemm& g, const NonZero& nonzero, Index col, Index width) {
  Vec acc[Vecs];
  const float* b[Vecs];
#pragma GCC unroll 8
  for (int v = 0; v < Vecs; ++v) {
    acc[v] = Vec{};
    b[v] = g.b + (col + v * kLanes / width * width) * g.k + v * kLanes % width;
  }
  for (Index i = 0; i < nonzero.count; ++i) {
    const Index p = nonzero.at[i];
    const Vec av = splat<Vec>(g.a[p]);
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; ++v) acc[v] = mul_add(av, load(b[v] + p * width), acc[v]);
  }
  alignas(64) float sum[Vecs * kLanes];
#pragma GCC unroll 8
  for (int v = 0; v < Vecs; ++v) store(sum + v * kLanes, acc[v]);
  for (Index j = 0; j < Vecs * kLanes; j += width)
    finish(g, {sum + j, width, 1, 0, col + j, columns(g.n, col + j, width)});
}

void gemm_row(const Gemm& g) {
  const NonZero nonzero(g);
  constexpr int kPanels = 8 / kTileVecs;  // eight chains at a time hide the latency of a multiply-add
  Index col = g.first;
  for (; col + kPanels * kPanel <= g.last; col += kPanels * kPanel)
    row_chains<kPanels * kTileVecs>(g, nonzero, col, kPanel);
  for (; col < g.last; col += kPanel)
    with_count<kTileVecs>(panel_vecs(g.n, col), [&]<int V>() { row_chains<V>(g, nonzero, col, V * kLanes); });
}

// ---- few columns: dot products, the lanes running along k ----

// Rows x Cols outputs from (row, col) on; B's panels lie along k.
template <int Rows, int Cols>
void dots_tile(const Gemm& g, Index row, Index col, float* to) {
  Vec acc[Rows][Cols];
#pragma GCC unroll 24
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 12
    for (int c = 0; c < Cols; ++c) acc[r][c] = Vec{};
  const float* a = g.a + row * g.a_row;
  const auto add = [&](Index p, Index n, const float* b, Index width) __attribute__((always_inline)) {
    Vec av[Rows];
#pragma GCC unroll 24
    for (int r = 0; r < Rows; ++r) av[r] = load(a + r * g.a_row + p, n);
#pragma GCC unroll 12
    for (int c = 0; c < Cols; ++c) {
      const Vec bv = load(b + c * width);
#pragma GCC unroll 24
      for (int r = 0; r < Rows; ++r) acc[r][c] = mul_add(av[r], bv, acc[r][c]);
    }
  };
  Index p = 0;
  for (; p + kPanel <= g.k; p += kPanel)
    for (int v = 0; v < kTileVecs; ++v) add(p + v * kLanes, kLanes, g.b + p * g.n + col * kPanel + v * kLanes, kPanel);
  const Index width = panel_vecs(g.k, p) * kLanes;
  const float* b = g.b + p * g.n + col * width;
  for (; p < g.k; p += kLanes, b += kLanes) add(p, g.k - p < kLanes ? g.k - p : kLanes, b, width);
#pragma GCC unroll 24
  for (int r = 0; r < Rows; ++r)
    for_sums<Cols>(acc[r], [&](int c, int n, Vec sums) { store(to + r * kNarrow + c, sums, n); });
}

// All columns of Rows rows, Cols at a time.
template <int Rows, int Cols>
EPSBALL_INLINE void dots_rows(const Gemm& g, Index row) {
  alignas(64) float sum[Rows * kNarrow];
  for (Index col = 0; col < g.n; col += Cols)
    with_count<Cols>(g.n - col < Cols ? g.n - col : Cols, [&]<int C>() { dots_tile<Rows, C>(g, row, col, sum + col); });
  finish(g, {sum, kNarrow, Rows, row, 0, g.n});
}

// ---- entries ----

// Of one panel: rows of B that lie along memory. They lie far apart, so the lines of a later one are asked for.
void pack_rows(const Pack& p, Index col, Index count, Index width, float* to) {
  constexpr Index kAhead = 8;
  const float* b = p.b + col;
  for (Index m = 0; m < p.members; ++m, b += p.member_stride, to += width) {
    if (m + kAhead < p.members)
      for (Index j = 0; j < count; j += kLine) __builtin_prefetch(b + kAhead * p.member_stride + j);
    for_lanes(count, [&](Index j, Index n) { store(to + j, load(b + j, n)); });
  }
}

// Of one panel: columns of B that lie along memory, so squares of a vector's width are turned; whole rows of the panel,
// which lie far apart, are finished one after another.
void pack_columns(const Pack& p, Index col, Index count, Index width, float* to) {
  for (Index m = 0; m < p.members; ++m)
    for_lanes(p.taps, [&](Index t, Index high) {
      const float* b = p.b + m * p.member_stride + t;
      float* rows[kLanes];
      for (Index i = 0; i < high; ++i) rows[i] = to + ((p.place ? p.place[t + i] : t + i) * p.members + m) * width;
      for_lanes(count, [&](Index j, Index wide) {
        Vec square[kLanes];
#pragma GCC unroll 16
        for (Index i = 0; i < kLanes; ++i) square[i] = i < wide ? load(b + (col + j + i) * p.n_stride, high) : Vec{};
        transpose(square);
#pragma GCC unroll 16
        for (Index i = 0; i < kLanes; ++i)
          if (i < high) store(rows[i] + j, square[i]);
      });
    });
}

void pack(Stream, const Pack& p) {
  for (Index col = p.first; col < p.last; col += kPanel) {
    const Index width = panel_vecs(p.n, col) * kLanes, count = columns(p.n, col, width);
    float* to = p.packed + col * p.taps * p.members;
    p.n_stride == 1 && p.taps == 1 ? pack_rows(p, col, count, width, to) : pack_columns(p, col, count, width, to);
  }
}

void gemm(Stream, const Gemm& g) {
  if (g.m == 1 && g.a_k == 1 && g.k <= kRowMaxK) return gemm_row(g);
  for (Index col = g.first; col < g.last; col += kPanel)
    with_count<kTileVecs>(panel_vecs(g.n, col),
                          [&]<int V>() { g.a_k == 1 ? panel<V, true>(g, col) : panel<V, false>(g, col); });
}

void dots(Stream, const Gemm& g) {
  constexpr int kRows = 4, kCols = kAccumulators / kRows;
  Index row = 0;
  for (; row + kRows <= g.m; row += kRows) dots_rows<kRows, kCols>(g, row);
  for (; row < g.m; ++row) dots_rows<1, kAccumulators / 2>(g, row);  // more columns at a time: chains hide latency
}

}  // namespace

void add_gemm(Kernels& k) {
  k.panel = kPanel;
  k.tile_rows = kAccumulators;
  k.pack = pack;
  k.gemm = gemm;
  k.dots = dots;
}

}  // namespace epsball::EPSBALL_ISA
