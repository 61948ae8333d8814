// Maxout: maxima over the pieces of each unit, the lanes running along units.
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

// The larger of the two, NaN where either is.
EPSBALL_INLINE Vec larger(Vec a, Vec b) { return select(b > a, b, select(a >= b, a, a + b)); }

void maxout_forward(Stream, const MaxoutRows& a) {
  for (Index r = 0; r < a.rows; ++r) {
    const float* x = a.x + r * a.ldx;
    for_lanes(a.units, [&](Index u, Index n) {
      Vec y = load(x + u, n);
      for (Index p = 1; p < a.pieces; ++p) y = larger(y, load(x + p * a.units + u, n));
      store(a.y + r * a.ldy + u, y, n);
    });
  }
}

// The gradient goes to the first piece that has the maximum.
void maxout_backward(Stream, const MaxoutRows& a) {
  for (Index r = 0; r < a.rows; ++r) {
    const float* x = a.x + r * a.ldx;
    float* dx = a.dx + r * a.lddx;
    for_lanes(a.units, [&](Index u, Index n) {
      const Vec y = load(a.y + r * a.ldy + u, n);
      Vec left = load(a.dy + r * a.lddy + u, n);
      for (Index p = 0; p < a.pieces; ++p) {
        const auto hit = load(x + p * a.units + u, n) == y;
        store(dx + p * a.units + u, select(hit, left, Vec{}), n);
        left = select(hit, Vec{}, left);
      }
    });
  }
}

}  // namespace

void add_maxout(Kernels& k) {
  k.maxout_forward = maxout_forward;
  k.maxout_backward = maxout_backward;
}

}  // namespace epsball::EPSBALL_ISA
