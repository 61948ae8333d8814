// Rows between the caller's arrays and a slab, and what attacks decide per row; mirrors cpp/rows.cpp.
//
// Loading fills a slab and storing empties it, rows that have left included: these two work on all rows they are given.
#include "launch.cuh"

#include <cstring>

#include "attacks/apgd_row.h"
#include "attacks/mix_row.h"
#include "attacks/track_best.h"
#include "ball.h"
#include "element.h"
#include "elements.cuh"
#include "flat.cuh"
#include "row.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// ---- kernels ----

template <class D>
__global__ void load_kernel(Array source, const Index* ids, Index first, Index rows, float* x, Index ld) {
  const auto* data = static_cast<const typename D::Element*>(source.data);
  for_elements(rows, source.features, [&](Index r, Index i) {
    const Index row = ids ? ids[r] : first + r;
    x[r * ld + i] = static_cast<float>(D::value(data[row * source.features + i]));
  });
}

__device__ __forceinline__ double absolute(double v) { return v < 0.0 ? -v : v; }

// A norm of f(i) over the features of a row.
template <class F>
__device__ __forceinline__ double norm_of(Norm norm, Index features, F f) {
  if (norm == Norm::linf) return row_max<double>(features, [&](Index i) { return absolute(f(i)); });
  const double total = row_sum(features, [&](Index i) {
    const double d = f(i);
    return norm == Norm::l2 ? d * d : norm == Norm::l1 ? absolute(d) : d != 0.0 ? 1.0 : 0.0;
  });
  return norm == Norm::l2 ? ::sqrt(total) : total;
}

// The slab's float32 y around the float32 rounding of x becomes a point around x itself that keeps ball and box.
template <class D>
__device__ __forceinline__ void store_row(const StoreRows& a, Index id, const float* y, const typename D::Element* x,
                                          typename D::Element* out) {
  const double eps = a.eps[id];
  const auto change = [&](Index i) {
    const double from = D::value(x[i]);
    if (y[i] == static_cast<float>(from)) return 0.0;  // untouched
    double to = y[i];
    if (a.box_lo) to = to < a.box_lo[i] ? a.box_lo[i] : to > a.box_hi[i] ? a.box_hi[i] : to;
    return to - from;
  };
  double scale = 1.0;
  if (a.norm == Norm::l2 || a.norm == Norm::l1) {
    const double norm = norm_of(a.norm, a.features, change), limit = within(eps, a.features);
    if (norm > limit) scale = limit / norm * (1.0 - 0x1p-40);
  }
  for_features(a.features, [&](Index i) {
    double d = change(i) * scale;
    if (a.norm == Norm::linf) d = d > eps ? eps : d < -eps ? -eps : d;
    out[i] = d == 0.0 ? x[i] : D::add_inside(x[i], d);
    if (!a.outward || d == 0.0) return;
    const typename D::Element further = D::add_outside(x[i], d);
    const double to = D::value(further);
    const bool inside = !a.box_lo || (to >= a.box_lo[i] && to <= a.box_hi[i]);
    if (inside && to - to == 0.0) out[i] = further;
  });
}

// The kernels keep the bound in float32 themselves.
template <>
__device__ __forceinline__ void store_row<Single>(const StoreRows& a, Index, const float* y, const float*, float* out) {
  for_features(a.features, [&](Index i) { out[i] = y[i]; });
}

template <class D>
__global__ void store_kernel(StoreRows a) {
  using Element = typename D::Element;
  for_rows(a.rows, [&](Index r) {
    const Index id = a.first + r;
    const Element* x = static_cast<const Element*>(a.x.data) + id * a.features;
    Element* out = static_cast<Element*>(a.out.data) + id * a.features;
    store_row<D>(a, id, a.y + r * a.ld, x, out);
    if (!a.distance) return;  // the whole block
    const double d = norm_of(a.norm, a.features, [&](Index i) { return D::value(out[i]) - D::value(x[i]); });
    if (threadIdx.x == 0) a.distance[id] = d;
  });
}

__global__ void copy_rows_kernel(Index rows, Index n, const float* from, Index ld_from, float* to, Index ld_to,
                                 const std::int32_t* slot, const std::uint8_t* keep, const std::int32_t* active) {
  for_elements(rows_now(rows, active), n, [&](Index r, Index i) {
    if (!keep || keep[r]) to[(slot ? slot[r] : r) * ld_to + i] = from[r * ld_from + i];
  });
}

constexpr int kTileRows = 32, kCompactWarps = 8, kRowsOfThread = kTileRows / kCompactWarps, kMostBuffers = 32;

struct Buffers {
  RowBuffer buffer[kMostBuffers];
  unsigned end[kMostBuffers];  // the first block behind the buffer's own, which follow those of the buffer before
};

__host__ __device__ __forceinline__ bool in_words(RowBuffer b) {
  return b.bytes % static_cast<Index>(sizeof(std::uint32_t)) == 0;
}
// Words of a row, or its bytes.
__host__ __device__ __forceinline__ Index columns_of(RowBuffer b) {
  return in_words(b) ? b.bytes / static_cast<Index>(sizeof(std::uint32_t)) : b.bytes;
}

__device__ __forceinline__ int ones(std::uint32_t bits) {
  int count = 0;
  for (; bits; bits &= bits - 1) ++count;
  return count;
}

// A block has 32 neighbouring words of a buffer's rows and takes 32 rows at a time: it reads those that stay before it
// writes any, and none moves backwards. Up to the first row that leaves, nothing moves.
template <class Word>
__device__ __forceinline__ void compact_columns(Index rows, const std::uint8_t* leave, Word* data, Index columns,
                                                Index column) {
  Index front = 0;
  for (Index first = 0; first < rows; first += kTileRows) {
    const Index asked = first + threadIdx.x;  // every warp asks for all rows of the tile
    const std::uint32_t stays = ballot(asked < rows && !leave[asked]);
    const int count = ones(stays);
    if (front + count < rows && front + count < first + kTileRows) {  // the whole block
      Word word[kRowsOfThread] = {};
      const auto for_moving = [&](auto f) {
        for (int i = 0; i < kRowsOfThread; ++i) {
          const unsigned row = threadIdx.y + i * kCompactWarps;
          if (stays >> row & 1 && column < columns) f(word[i], row);
        }
      };
      for_moving([&](Word& w, unsigned row) { w = data[(first + row) * columns + column]; });
      barrier();
      for_moving([&](Word w, unsigned row) { data[(front + ones(stays & ((1u << row) - 1))) * columns + column] = w; });
    }
    front += count;
  }
}

__global__ void compact_kernel(Index rows, const std::uint8_t* leave, Buffers buffers, const std::int32_t* active) {
  int which = 0;
  while (blockIdx.x >= buffers.end[which]) ++which;
  const unsigned begin = which > 0 ? buffers.end[which - 1] : 0;
  const Index n = rows_now(rows, active), column = Index{blockIdx.x - begin} * kWarpSize + threadIdx.x;
  const RowBuffer b = buffers.buffer[which];
  if (in_words(b))  // the whole block
    compact_columns(n, leave, static_cast<std::uint32_t*>(b.data), columns_of(b), column);
  else
    compact_columns(n, leave, static_cast<std::uint8_t*>(b.data), columns_of(b), column);
}

// One block: the count replaces the one that the other kernels have read.
__global__ void count_kernel(Index rows, const std::uint8_t* leave, std::int32_t* active) {
  const Index n = rows_now(rows, active);
  std::int32_t stay = 0;
  for (Index r = threadIdx.x; r < n; r += blockDim.x) stay += !leave[r];
  stay = block_sum(stay);
  if (threadIdx.x == 0) *active = stay;
}

__global__ void track_best_kernel(Index rows, TrackBest t, const std::int32_t* active) {
  for_flat(rows_now(rows, active), [&](Index r) { track_best_row(t, r); });
}

__global__ void apgd_kernel(Index rows, ApgdRows a, const std::int32_t* active) {
  for_flat(rows_now(rows, active), [&](Index r) { apgd_row(a, r); });
}

__global__ void mix_kernel(Index rows, MixRows a, const std::int32_t* active) {
  for_flat(rows_now(rows, active), [&](Index r) { mix_row(a, r); });
}

struct Words {
  std::uint32_t word[kMostPut / sizeof(std::uint32_t)] = {};
};

// One thread per word.
__global__ void put_kernel(std::uint32_t* to, Words words) { to[threadIdx.x] = words.word[threadIdx.x]; }

// ---- what the table calls ----

// source and ids are the device's.
void load_rows(Stream stream, const Array& source, const Index* ids, Index first, Index rows, float* x, Index ld) {
  const auto kernel = source.dtype == DType::float32   ? load_kernel<Single>
                      : source.dtype == DType::float64 ? load_kernel<Double>
                                                       : load_kernel<Half>;
  launch(kernel, elements_grid(rows, source.features), elements_block(), 0, device_stream(stream), source, ids, first,
         rows, x, ld);
}

void store_rows(Stream stream, const StoreRows& a) {
  const auto kernel = a.x.dtype == DType::float32   ? store_kernel<Single>
                      : a.x.dtype == DType::float64 ? store_kernel<Double>
                                                    : store_kernel<Half>;
  launch(kernel, rows_grid(a.rows), kRowThreads, 0, device_stream(stream), a);
}

// Host or device to host or device.
void copy(Stream stream, void* to, const void* from, Index bytes) {
  if (bytes > 0) memcpy_async(to, from, static_cast<std::size_t>(bytes), device_stream(stream).stream);
}

void fill(Stream stream, void* to, int byte, Index bytes) {
  if (bytes > 0) memset_async(to, byte, static_cast<std::size_t>(bytes), device_stream(stream).stream);
}

void put(Stream stream, void* to, const void* values, Index bytes) {
  Words words;
  std::memcpy(words.word, values, static_cast<std::size_t>(bytes));
  const auto count = static_cast<unsigned>(bytes / static_cast<Index>(sizeof(std::uint32_t)));
  launch(put_kernel, 1, count, 0, device_stream(stream), static_cast<std::uint32_t*>(to), words);
}

void copy_rows(Stream stream, Index rows, Index n, const float* from, Index ld_from, float* to, Index ld_to,
               const std::int32_t* slot, const std::uint8_t* keep) {
  const DeviceStream s = device_stream(stream);
  launch(copy_rows_kernel, elements_grid(rows, n), elements_block(), 0, s, rows, n, from, ld_from, to, ld_to, slot,
         keep, s.active);
}

// How many stay is written to the stream's `active`; the host is not told, and goes on with `rows`.
Index compact(Stream stream, Index rows, const std::uint8_t* leave, const RowBuffer* buffers, int count) {
  const DeviceStream s = device_stream(stream);
  if (!s.active) throw CudaError("compact: the stream has no place for the number of active rows");
  for (int first = 0; first < count; first += kMostBuffers) {
    Buffers some;
    const int n = count - first < kMostBuffers ? count - first : kMostBuffers;
    unsigned blocks = 0;
    for (int b = 0; b < n; ++b) {
      some.buffer[b] = buffers[first + b];
      blocks += static_cast<unsigned>(ceil_div<Index>(columns_of(some.buffer[b]), kWarpSize));
      some.end[b] = blocks;
    }
    launch(compact_kernel, blocks, dim3(kWarpSize, kCompactWarps), 0, s, rows, leave, some, s.active);
  }
  launch(count_kernel, 1, kCompactWarps * kWarpSize, 0, s, rows, leave, s.active);
  return rows;
}

void track_best(Stream stream, Index rows, const TrackBest& t) {
  const DeviceStream s = device_stream(stream);
  launch(track_best_kernel, flat_grid(rows), kFlatThreads, 0, s, rows, t, s.active);
}

void apgd(Stream stream, Index rows, const ApgdRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(apgd_kernel, flat_grid(rows), kFlatThreads, 0, s, rows, a, s.active);
}

void mix(Stream stream, Index rows, const MixRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(mix_kernel, flat_grid(rows), kFlatThreads, 0, s, rows, a, s.active);
}

}  // namespace

void add_rows(Kernels& k) {
  k.load_rows = load_rows;
  k.store_rows = store_rows;
  k.copy = copy;
  k.fill = fill;
  k.put = put;
  k.copy_rows = copy_rows;
  k.compact = compact;
  k.track_best = track_best;
  k.apgd = apgd;
  k.mix = mix;
}

}  // namespace epsball::cuda
