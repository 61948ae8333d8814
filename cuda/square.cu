// Square's next points; mirrors cpp/square.cpp. L-infinity: a block per row; else a thread per row, whose sums are the
// CPU's chains.
#include "launch.cuh"

#include "attacks/square_row.h"
#include "elements.cuh"
#include "flat.cuh"
#include "row.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// ---- kernels ----

__global__ void square_linf_kernel(SquareRows a, const std::int32_t* active) {
  for_rows(rows_now(a.rows, active), [&](Index row) {
    if (a.first) {
      square_stripes(a, row, threadIdx.x, blockDim.x);
      return;  // the whole block
    }
    for_features(a.channels * a.height * a.width, [&](Index i) { a.out[row * a.ld + i] = a.x[row * a.ld + i]; });
    barrier();
    square_window(a, row, threadIdx.x, blockDim.x);
  });
}

__global__ void copy_kernel(SquareRows a, const std::int32_t* active) {
  for_elements(rows_now(a.rows, active), a.channels * a.height * a.width,
               [&](Index r, Index i) { a.out[r * a.ld + i] = a.x[r * a.ld + i]; });
}

__global__ void square_move_kernel(SquareRows a, const std::int32_t* active) {
  for_flat(rows_now(a.rows, active), [&](Index r) { a.first ? square_tiles(a, r) : square_move(a, r); });
}

// ---- what the table calls ----

void square(Stream stream, const SquareRows& a) {
  const DeviceStream s = device_stream(stream);
  if (a.norm == Norm::linf) return launch(square_linf_kernel, rows_grid(a.rows), kRowThreads, 0, s, a, s.active);
  const Index features = a.channels * a.height * a.width;
  if (!a.first) launch(copy_kernel, elements_grid(a.rows, features), elements_block(), 0, s, a, s.active);
  launch(square_move_kernel, flat_grid(a.rows), kFlatThreads, 0, s, a, s.active);
}

}  // namespace

void add_square(Kernels& k) { k.square = square; }

}  // namespace epsball::cuda
