// Matrix product with packed B: tiles of kTileRows x kTileVecs vectors in registers, then the epilogue on each tile.
//
// Every output element is one chain of multiply-adds over p inside each block of kBlockK, and the blocks are added in
// order. Tiles of every height and the single-row path follow that same chain, so a row's bits never depend on the batch.
#include <utility>

#include "activation.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

#if EPSBALL_LANES == 16
constexpr int kTileRows = 14, kTileVecs = 2;  // 28 accumulators + 2 of B + 1 broadcast of 32 registers
#elif EPSBALL_LANES == 8
constexpr int kTileRows = 6, kTileVecs = 2;  // 12 + 2 + 1 of 16
#elif EPSBALL_LANES == 4
constexpr int kTileRows = 7, kTileVecs = 3;  // 21 + 3 + 7 of 32
#else
constexpr int kTileRows = 4, kTileVecs = 4;
#endif
constexpr Index kPanel = kTileVecs * kLanes;

// Width in vectors of the panel that starts at column j; the last one is as narrow as it can be.
Index panel_vecs(Index n, Index j) {
  Index left = (n - j + kLanes - 1) / kLanes;
  return left < kTileVecs ? left : kTileVecs;
}

// Calls f<vecs>(), which a panel's width in vectors becomes a constant for.
template <class F, int... V>
EPSBALL_INLINE void with_vecs(Index vecs, F f, std::integer_sequence<int, V...>) {
  ((vecs == V + 1 ? f.template operator()<V + 1>() : void()), ...);
}
template <class F>
EPSBALL_INLINE void with_vecs(Index vecs, F f) {
  with_vecs(vecs, f, std::make_integer_sequence<int, kTileVecs>());
}

// ---- epilogue of a finished tile ----

// Runs f(row, column, vector, n) over the tile's `rows` rows and `count` columns.
template <class F>
EPSBALL_INLINE void for_tile(const float* sum, Index rows, Index row, Index col, Index count, F f) {
  for (Index r = 0; r < rows; ++r)
    for_lanes(count, [&](Index i, Index n) { f(row + r, col + i, load(sum + r * kPanel + i), n); });
}

void finish(const Gemm& g, const float* sum, Index rows, Index row, Index col) {
  const Epilogue& e = g.epilogue;
  const Index left = g.n - col;
  const Index count = left < kPanel ? left : kPanel;
  if (e.step) {
    const SignStep& s = *e.step;
    for_tile(sum, rows, row, col, count, [&](Index r, Index j, Vec v, Index n) {
      const Index at = r * s.ld + j;
      if (any(v != 0.0f)) __atomic_store_n(&s.moving[r], 1, __ATOMIC_RELAXED);  // a team shares the row
      v = clip(load(s.x + at, n) + sign(v) * s.size[r], load(s.lo + at, n), load(s.hi + at, n));
      store(s.x + at, v, n);
    });
    return;
  }
  if (e.saved) {
    for_tile(sum, rows, row, col, count, [&](Index r, Index j, Vec v, Index n) {
      v = v * derivative(e.derivative, load(e.saved + r * e.saved_ld + j, n));
      store(g.c + r * g.ldc + j, v, n);
    });
    return;
  }
  for_tile(sum, rows, row, col, count, [&](Index r, Index j, Vec v, Index n) {
    if (e.bias) v = v + load(e.bias + j, n);
    if (e.pre_activation) store(e.pre_activation + r * g.ldc + j, v, n);
    store(g.c + r * g.ldc + j, activate(e.activation, v), n);
  });
}

// ---- a tile of Rows x Vecs vectors ----

// sum += A[0..Rows, 0..k] B over one block of k.
template <int Rows, int Vecs>
EPSBALL_INLINE void tile_block(Index k, const float* a, Index a_row, Index a_k, const float* b, float* sum, bool first) {
  Vec acc[Rows][Vecs];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) acc[r][v] = Vec{};
  // Row pointers in groups of three, so that all addresses fit the integer registers.
  constexpr int kGroups = (Rows + 2) / 3;
  const float* group[kGroups];
#pragma GCC unroll 8
  for (int i = 0; i < kGroups; ++i) group[i] = a + 3 * i * a_row;
  for (Index p = 0; p < k; ++p) {
    Vec bv[Vecs];
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) bv[v] = load(b + v * kLanes);
    b += Vecs * kLanes;
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      Vec av = splat<Vec>(group[r / 3][(r % 3) * a_row]);
#if EPSBALL_LANES == 16
      asm("" : "+v"(av));  // one broadcast into a register: GCC would load it again for each use
#endif
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) acc[r][v] = mul_add(av, bv[v], acc[r][v]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kGroups; ++i) group[i] += a_k;
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) {
      float* s = sum + r * kPanel + v * kLanes;
      store(s, first ? acc[r][v] : load(s) + acc[r][v]);
    }
}

template <int Rows, int Vecs>
void tile(const Gemm& g, Index row, Index col) {
  alignas(64) float sum[Rows * kPanel];
  const float* a = g.a + row * g.a_row;
  const float* b = g.b + col * g.k;
  for (Index p = 0; p < g.k; p += kBlockK) {
    Index k = g.k - p < kBlockK ? g.k - p : kBlockK;
    if (g.a_k == 1)
      tile_block<Rows, Vecs>(k, a + p, g.a_row, 1, b + p * Vecs * kLanes, sum, p == 0);
    else
      tile_block<Rows, Vecs>(k, a + p * g.a_k, g.a_row, g.a_k, b + p * Vecs * kLanes, sum, p == 0);
  }
  finish(g, sum, Rows, row, col);
}

using Tile = void (*)(const Gemm&, Index row, Index col);

// The tile of each height: tiles<Vecs>[rows - 1].
template <int Vecs, class = std::make_integer_sequence<int, kTileRows>>
struct Tiles;
template <int Vecs, int... R>
struct Tiles<Vecs, std::integer_sequence<int, R...>> {
  static constexpr Tile of[] = {tile<R + 1, Vecs>...};
};

template <int Vecs>
void panel_rows(const Gemm& g, Index col) {
  Index row = 0;
  for (; row + kTileRows <= g.m; row += kTileRows) tile<kTileRows, Vecs>(g, row, col);
  if (row < g.m) Tiles<Vecs>::of[g.m - row - 1](g, row, col);
}

// ---- one row: a matrix-vector product that skips the zeros of A, which add nothing to the chain ----

constexpr Index kRowMaxK = 8192;  // longer rows take the tile path: the list below lives on the stack

// Where A's single row is not zero, block by block.
struct NonZero {
  std::int32_t at[kRowMaxK];
  Index begin[kRowMaxK / kBlockK + 1];

  explicit NonZero(const Gemm& g) {
    Index count = 0;
    begin[0] = 0;
    for (Index p = 0; p < g.k; ++p) {
      at[count] = static_cast<std::int32_t>(p);
      count += g.a[p] != 0.0f;
      if ((p + 1) % kBlockK == 0 || p + 1 == g.k) begin[p / kBlockK + 1] = count;
    }
  }
};

// Vecs vectors from column `col` on, whose panels are `width` floats wide.
template <int Vecs>
EPSBALL_INLINE void row_chains(const Gemm& g, const NonZero& nonzero, Index col, Index width) {
  alignas(64) float sum[Vecs * kLanes];
  const float* b[Vecs];
#pragma GCC unroll 8
  for (int v = 0; v < Vecs; ++v) b[v] = g.b + (col + v * kLanes / width * width) * g.k + v * kLanes % width;
  for (Index block = 0; block * kBlockK < g.k; ++block) {
    Vec acc[Vecs];
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; ++v) acc[v] = Vec{};
    for (Index i = nonzero.begin[block]; i < nonzero.begin[block + 1]; ++i) {
      const Index p = nonzero.at[i];
      const Vec av = splat<Vec>(g.a[p]);
#pragma GCC unroll 8
      for (int v = 0; v < Vecs; ++v) acc[v] = mul_add(av, load(b[v] + p * width), acc[v]);
    }
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; ++v) store(sum + v * kLanes, block == 0 ? acc[v] : load(sum + v * kLanes) + acc[v]);
  }
  for (Index j = 0; j < Vecs * kLanes; j += kPanel) finish(g, sum + j, 1, 0, col + j);
}

void gemm_row(const Gemm& g) {
  const NonZero nonzero(g);
  constexpr int kPanels = 8 / kTileVecs;  // eight chains at a time hide the latency of a multiply-add
  Index col = g.first;
  for (; col + kPanels * kPanel <= g.last; col += kPanels * kPanel)
    row_chains<kPanels * kTileVecs>(g, nonzero, col, kPanel);
  for (; col < g.last; col += kPanel) {
    const Index vecs = panel_vecs(g.n, col);
    with_vecs(vecs, [&]<int V>() { row_chains<V>(g, nonzero, col, V * kLanes); });
  }
}

// ---- entries ----

void pack(Stream, Index k, Index n, const float* b, Index k_stride, Index n_stride, Index first, Index last,
          float* packed) {
  for (Index col = first; col < last; col += kPanel) {
    const Index width = panel_vecs(n, col) * kLanes;
    const Index count = n - col < width ? n - col : width;
    float* to = packed + col * k;
    for (Index p = 0; p < k; ++p) {
      const float* from = b + p * k_stride + col * n_stride;
      for (Index j = 0; j < count; ++j) to[p * width + j] = from[j * n_stride];
      for (Index j = count; j < width; ++j) to[p * width + j] = 0.0f;
    }
  }
}

void gemm(Stream, const Gemm& g) {
  if (g.m == 1 && g.a_k == 1 && g.k <= kRowMaxK) return gemm_row(g);
  for (Index col = g.first; col < g.last; col += kPanel)
    with_vecs(panel_vecs(g.n, col), [&]<int V>() { panel_rows<V>(g, col); });
}

}  // namespace

void add_gemm(Kernels& k) {
  k.panel = kPanel;
  k.tile_rows = kTileRows;
  k.pack = pack;
  k.gemm = gemm;
}

}  // namespace epsball::EPSBALL_ISA
