// What minimum-norm and decision attacks decide per row, each row by itself; mirrors cpp/decide.cpp.
#include "launch.cuh"

#include "attacks/decisions.h"
#include "flat.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// ---- kernels ----

template <class Rows>
__global__ void decide_kernel(Index rows, Rows a, const std::int32_t* active) {
  for_flat(rows_now(rows, active), [&](Index r) { decide(a, r); });
}

// ---- what the table calls ----

struct Table {
  template <class Rows>
  static void decide_rows(Stream stream, Index rows, const Rows& a) {
    const DeviceStream s = device_stream(stream);
    launch(decide_kernel<Rows>, flat_grid(rows), kFlatThreads, 0, s, rows, a, s.active);
  }
};

}  // namespace

void add_decide(Kernels& k) { add_decisions<Table>(k); }

}  // namespace epsball::cuda
