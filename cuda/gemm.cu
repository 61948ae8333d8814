// Matrix products with an epilogue; mirrors cpp/gemm.cpp. A packed matrix (k, n) lies row by row, padded(n) apart.
//
// Every output of gemm is one chain of multiply-adds over p = 0, 1, ..., as it is on a CPU; every output of dots is 32
// such chains and one tree of sums. At a lower precision gemm rounds both factors and leaves the sum to tensor cores.
#include "launch.cuh"

#include "elements.cuh"
#include "epilogue.cuh"
#include "fragments.cuh"
#include "sign_step.cuh"
#include "table.cuh"
#include "tile.cuh"

namespace epsball::cuda {
namespace {

constexpr int kDotsWarps = 8;  // rows of a block of dots
constexpr int kSquare = 32;    // of weights that are turned
constexpr unsigned kSquareRows = 8;

// ---- kernels ----

// Calls finish or take_step for one row of sums, `sum(j)` in columns [first, last); a whole warp does it together.
template <class Sum>
__device__ __forceinline__ void finish_row(const Gemm& g, const SignStep& step, Index row, Index first, Index last,
                                           Sum sum) {
  const Index lane = threadIdx.x % kWarpSize;
  bool moves = false;
  for (Index j = first + lane; j < last; j += kWarpSize) {
    if (g.epilogue.step)
      moves |= take_step(step, row, j, sum(j));
    else
      finish(g.epilogue, g.c, g.ldc, row, j, j, sum(j));
  }
  if (g.epilogue.step && any(moves) && lane == 0) step.moving[row] = 1;
}

// The same for a block's rows from `row` on and its columns [col, last), whose sums lie in shared memory.
template <int Height, int Stride>
__device__ __forceinline__ void finish_tile(const Gemm& g, const SignStep& step, Index row, Index rows, Index col,
                                            Index last, const float (&done)[Height][Stride]) {
  for (int i = static_cast<int>(threadIdx.x) / kWarpSize; i < Height && row + i < rows; i += kTileThreads / kWarpSize)
    finish_row(g, step, row + i, col, last, [&](Index j) { return done[i][j - col]; });
}

// g.epilogue.step points to the host's memory: `step` is what is there.
template <class Shape>
__global__ void __launch_bounds__(kTileThreads, 3) gemm_kernel(Gemm g, SignStep step, const std::int32_t* active) {
  constexpr int kHeight = Shape::height, kWidth = Shape::width;
  const Index rows = rows_now(g.m, active), row = Index{blockIdx.x} * kHeight;
  if (row >= rows) return;  // the whole block
  const Index col = g.first + Index{blockIdx.y} * kWidth, ldb = packed_ld(g.n);
  float sum[Shape::rows][Shape::columns] = {};
  tile_chains<Shape>(
      g.k, g.a_k == 1, [&](int i, Index p) { return row + i < rows ? g.a[(row + i) * g.a_row + p * g.a_k] : 0.0f; },
      [&](Index p, int j) { return col + j < g.last ? g.b[p * ldb + col + j] : 0.0f; },
      [](float s, float a, float b, int, int) { return mul_add(a, b, s); }, sum);
  SHARED_ARRAY(float, done, [kHeight][kWidth]);
  share_tile<Shape>(sum, done);
  finish_tile(g, step, row, rows, col, col + kWidth < g.last ? col + kWidth : g.last, done);
}

template <class P>
__global__ void __launch_bounds__(kTileThreads, 3) tensor_kernel(Gemm g, SignStep step, const std::int32_t* active) {
  const Index rows = rows_now(g.m, active), row = Index{blockIdx.x} * kSide;
  if (row >= rows) return;  // the whole block
  const Index col = g.first + Index{blockIdx.y} * kSide, ldb = packed_ld(g.n);
  SHARED_ARRAY(float, done, [kSide][kSide + 4]);
  fragment_sums<P>(
      g.k, g.a_k == 1, [&](int i, Index p) { return row + i < rows ? g.a[(row + i) * g.a_row + p * g.a_k] : 0.0f; },
      [&](Index p, int j) { return col + j < g.last ? g.b[p * ldb + col + j] : 0.0f; }, done);
  finish_tile(g, step, row, rows, col, col + kSide < g.last ? col + kSide : g.last, done);
}

// A warp per row; the lanes run along k, B's rows being the columns of the product.
__global__ void dots_kernel(Gemm g, SignStep step, const std::int32_t* active) {
  const Index rows = rows_now(g.m, active), row = Index{blockIdx.x} * kDotsWarps + threadIdx.x / kWarpSize;
  if (row >= rows) return;  // the whole warp
  const Index lane = threadIdx.x % kWarpSize, ldb = packed_ld(g.k);
  const float* a = g.a + row * g.a_row;
  float sum[kNarrow] = {};
  for (Index p = lane; p < g.k; p += kWarpSize) {
    const float av = a[p];
    EPSBALL_UNROLL
    for (int j = 0; j < kNarrow; ++j)
      if (j < g.n) sum[j] = mul_add(av, g.b[j * ldb + p], sum[j]);
  }
  float mine = 0.0f;  // the sum of column `lane`
  EPSBALL_UNROLL
  for (int j = 0; j < kNarrow; ++j) {
    const float total = warp_sum(sum[j]);
    if (lane == j) mine = total;
  }
  finish_row(g, step, row, 0, g.n, [&](Index) { return mine; });
}

__device__ float* packed_row(const Pack& p, Index tap, Index member) {
  return p.packed + ((p.place ? p.place[tap] : tap) * p.members + member) * packed_ld(p.n);
}

// Where rows of B lie along memory.
__global__ void pack_rows_kernel(Pack p) {
  for_elements(p.taps * p.members, p.last - p.first, [&](Index u, Index i) {
    const Index tap = u % p.taps, member = u / p.taps, j = p.first + i;
    packed_row(p, tap, member)[j] = p.b[tap + member * p.member_stride + j * p.n_stride];
  });
}

// Where columns of B lie along memory: squares of them are turned, so that neighbours are read and written.
__global__ void pack_columns_kernel(Pack p) {
  SHARED_ARRAY(float, square, [kSquare][kSquare + 1]);
  const Index u0 = Index{blockIdx.x} * kSquare, j0 = p.first + Index{blockIdx.y} * kSquare, k = p.taps * p.members;
  for (Index i = threadIdx.y; i < kSquare; i += kSquareRows) {
    const Index u = u0 + threadIdx.x, j = j0 + i;
    if (u < k && j < p.last) square[i][threadIdx.x] = p.b[u % p.taps + u / p.taps * p.member_stride + j * p.n_stride];
  }
  barrier();
  for (Index i = threadIdx.y; i < kSquare; i += kSquareRows) {
    const Index u = u0 + i, j = j0 + threadIdx.x;
    if (u < k && j < p.last) packed_row(p, u % p.taps, u / p.taps)[j] = square[threadIdx.x][i];
  }
}

// ---- what the table calls ----

unsigned blocks(Index n, Index each) { return n > 0 ? static_cast<unsigned>(ceil_div(n, each)) : 0; }

SignStep step_of(const Gemm& g) { return g.epilogue.step ? *g.epilogue.step : SignStep{}; }

void pack(Stream stream, const Pack& p) {
  const DeviceStream s = device_stream(stream);
  const Index k = p.taps * p.members, columns = p.last - p.first;
  if (p.n_stride == 1)
    launch(pack_rows_kernel, elements_grid(k, columns), elements_block(), 0, s, p);
  else
    launch(pack_columns_kernel, dim3(blocks(k, kSquare), blocks(columns, kSquare)), dim3(kSquare, kSquareRows), 0, s,
           p);
}

void gemm(Stream stream, const Gemm& g) {
  const DeviceStream s = device_stream(stream);
  const dim3 grid(blocks(g.m, WideTile::height), blocks(g.last - g.first, WideTile::width));
  launch(gemm_kernel<WideTile>, grid, dim3(kTileThreads), 0, s, g, step_of(g), s.active);
}

template <class P>
void tensor_gemm(Stream stream, const Gemm& g) {
  const DeviceStream s = device_stream(stream);
  const dim3 grid(blocks(g.m, kSide), blocks(g.last - g.first, kSide));
  launch(tensor_kernel<P>, grid, dim3(kTileThreads), 0, s, g, step_of(g), s.active);
}

void dots(Stream stream, const Gemm& g) {
  const DeviceStream s = device_stream(stream);
  launch(dots_kernel, dim3(blocks(g.m, kDotsWarps)), dim3(kDotsWarps * kWarpSize), 0, s, g, step_of(g), s.active);
}

}  // namespace

void add_gemm(Kernels& k, Precision precision) {
  k.panel = 128;
  k.tile_rows = 128;
  k.pack = pack;
  k.gemm = precision == Precision::tf32 ? tensor_gemm<Tf32> : precision == Precision::bf16 ? tensor_gemm<Bf16> : gemm;
  k.dots = dots;
}

}  // namespace epsball::cuda
