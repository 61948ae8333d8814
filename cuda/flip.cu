// The single feature whose flip gains most; mirrors cpp/flip.cpp.
#include "launch.cuh"

#include "attacks/flip_row.h"
#include "row.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// ---- kernels ----

__global__ void flip_kernel(Index rows, FlipRows a, const std::int32_t* active) {
  for_rows(rows_now(rows, active), [&](Index r) {
    const auto gain = [&](Index i) {
      const Index at = r * a.ld + i;
      return gain_of(a, a.x[at], a.lo[at], a.hi[at], a.gradient[at]);
    };
    const float best = row_max<float>(a.features, gain);
    const Index flip =
        best > 0.0f
            ? leading(a.features,
                      [&](Index m) {
                        return row_max<float>(a.features, [&](Index i) { return i < m ? gain(i) : 0.0f; }) < best;
                      })
            : -1;
    const bool sloped = row_max<float>(a.features, [&](Index i) { return abs(a.gradient[r * a.ld + i]); }) > 0.0f;
    if (threadIdx.x == 0) {
      const Index at = r * a.ld + flip;
      if (flip >= 0) a.x[at] = a.lo[at] = a.hi[at] = a.rise ? a.hi[at] : a.lo[at];
      a.moving[r] |= sloped;
      a.done[r] |= flip < 0 && a.moving[r];
    }
  });
}

// ---- what the table calls ----

void flip(Stream stream, Index rows, const FlipRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(flip_kernel, rows_grid(rows), kRowThreads, 0, s, rows, a, s.active);
}

}  // namespace

void add_flip(Kernels& k) { k.flip = flip; }

}  // namespace epsball::cuda
