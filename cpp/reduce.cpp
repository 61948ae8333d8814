// Sums over rows.
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

// sums[j] = x[0][j] + x[1][j] + ... in that order.
void column_sums(Stream, Index rows, Index n, const float* x, Index ldx, float* sums) {
  for_lanes(n, [&](Index j, Index m) {
    Vec s = {};
    for (Index r = 0; r < rows; ++r) s = s + load(x + r * ldx + j, m);
    store(sums + j, s, m);
  });
}

// Row by row, pixel by pixel.
void channel_sums(Stream, Index rows, Index pixels, Index channels, const float* x, Index ldx, float* sums) {
  for_lanes(channels, [&](Index j, Index m) {
    Vec s = {};
    for (Index r = 0; r < rows; ++r)
      for (Index p = 0; p < pixels; ++p) s = s + load(x + r * ldx + p * channels + j, m);
    store(sums + j, s, m);
  });
}

}  // namespace

void add_reduce(Kernels& k) {
  k.column_sums = column_sums;
  k.channel_sums = channel_sums;
}

}  // namespace epsball::EPSBALL_ISA
