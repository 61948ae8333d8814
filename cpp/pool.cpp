// Max and average pooling of images, channels last.
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

// Calls f(output pixel, f(input pixel) for each tap inside) for every output of one image.
template <class F>
EPSBALL_INLINE void for_windows(const Pool& p, F f) {
  for (Index oy = 0; oy < p.out_height; ++oy)
    for (Index ox = 0; ox < p.out_width; ++ox) {
      const Taps &down = p.down[oy], &across = p.across[ox];
      f(oy * p.out_width + ox, [&](auto tap) __attribute__((always_inline)) {
        for (Index y = down.first; y < down.first + down.count; ++y)
          for (Index x = across.first; x < across.first + across.count; ++x) tap(y * p.in_width + x);
      });
    }
}

void pool_forward(Stream, const Pool& p) {
  const float share = 1.0f / static_cast<float>(p.taps);
  for (Index row = 0; row < p.rows; ++row) {
    const float* in = p.x + row * p.ldx;
    float* out = p.y + row * p.ldy;
    for_windows(p, [&](Index pixel, auto for_taps) {
      for_lanes(p.channels, [&](Index i, Index n) {
        Vec v = p.kind == PoolKind::max ? splat<Vec>(-3.40282347e38f) : Vec{};
        for_taps([&](Index from) {
          const Vec x = load(in + from * p.channels + i, n);
          v = p.kind == PoolKind::max ? max(v, x) : v + x;
        });
        store(out + pixel * p.channels + i, p.kind == PoolKind::max ? v : v * share, n);
      });
    });
  }
}

// A maximum's gradient goes to the first input that has it.
void pool_backward(Stream, const Pool& p) {
  const float share = 1.0f / static_cast<float>(p.taps);
  for (Index row = 0; row < p.rows; ++row) {
    const float *in = p.x + row * p.ldx, *out = p.y + row * p.ldy, *from = p.dy + row * p.lddy;
    float* to = p.dx + row * p.lddx;
    for_lanes(p.in_height * p.in_width * p.channels, [&](Index i, Index n) { store(to + i, Vec{}, n); });
    for_windows(p, [&](Index pixel, auto for_taps) {
      for_lanes(p.channels, [&](Index i, Index n) {
        const Vec y = load(out + pixel * p.channels + i, n), dy = load(from + pixel * p.channels + i, n);
        Vec left = p.kind == PoolKind::max ? dy : dy * share;
        for_taps([&](Index tap) {
          float* at = to + tap * p.channels + i;
          if (p.kind == PoolKind::max) {
            const auto hit = load(in + tap * p.channels + i, n) == y;
            store(at, load(at, n) + select(hit, left, Vec{}), n);
            left = select(hit, Vec{}, left);
          } else {
            store(at, load(at, n) + left, n);
          }
        });
      });
    });
  }
}

}  // namespace

void add_pool(Kernels& k) {
  k.pool_forward = pool_forward;
  k.pool_backward = pool_backward;
}

}  // namespace epsball::EPSBALL_ISA
