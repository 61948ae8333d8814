// Max and average pooling of images, channels last.
#include "activation.h"
#include "region.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

Rectangle whole(const Pool& p) {
  return {0, 0, static_cast<std::int32_t>(p.out_height), static_cast<std::int32_t>(p.out_width)};
}

// Calls f(output pixel, first input pixel, rows, columns) for the window of every output in a part of one image.
template <class F>
EPSBALL_INLINE void for_windows(const Pool& p, const Rectangle& part, F f) {
  for (Index oy = part.top; oy < part.bottom; ++oy)
    for (Index ox = part.left; ox < part.right; ++ox) {
      const Taps &down = p.down[oy], &across = p.across[ox];
      f(oy * p.out_width + ox, down.first * p.in_width + across.first, Index{down.count}, Index{across.count});
    }
}

// Calls f(offset of the tap's first value) in order.
template <class F>
EPSBALL_INLINE void for_taps(const Pool& p, Index first, Index rows, Index columns, F f) {
  for (Index y = 0; y < rows; ++y)
    for (Index x = 0; x < columns; ++x) f((first + y * p.in_width + x) * p.channels);
}

template <PoolKind kind>
void forward(const Pool& p, const Rectangle& part, const float* in, float* out) {
  const float share = 1.0f / static_cast<float>(p.taps);
  for_windows(p, part, [&](Index pixel, Index first, Index rows, Index columns) {
    for_lanes(p.channels, [&](Index i, Index n) {
      Vec v = kind == PoolKind::max ? splat<Vec>(-3.40282347e38f) : Vec{};
      for_taps(p, first, rows, columns, [&](Index tap) {
        const Vec x = load(in + tap + i, n);
        v = kind == PoolKind::max ? max(v, x) : v + x;
      });
      store(out + pixel * p.channels + i, kind == PoolKind::max ? v : v * share, n);
    });
  });
}

// A maximum's gradient goes to the first input that has it. Windows that overlap add up, from zeros.
template <PoolKind kind, bool overlap>
void backward(const Pool& p, const float* in, const float* out, const float* from, float* to) {
  const float share = 1.0f / static_cast<float>(p.taps);
  for_windows(p, whole(p), [&](Index pixel, Index first, Index rows, Index columns) {
    for_lanes(p.channels, [&](Index i, Index n) {
      const Vec y = load(out + pixel * p.channels + i, n), dy = load(from + pixel * p.channels + i, n);
      Vec left = kind == PoolKind::max ? dy : dy * share;
      for_taps(p, first, rows, columns, [&](Index tap) {
        Vec d = left;
        const Vec x = load(in + tap + i, n);
        if (kind == PoolKind::max) {
          const auto hit = x == y;
          d = select(hit, left, Vec{});
          left = select(hit, Vec{}, left);
        }
        if (overlap)
          d = load(to + tap + i, n) + d;
        else if (p.derivative.kind == Activation::relu)
          d = d * derivative({Activation::relu, 0.0f}, x);
        else if (p.derivative.kind != Activation::identity)
          d = d * derivative(p.derivative, x);
        store(to + tap + i, d, n);
      });
    });
  });
}

void forward_row(const Pool& p, Index row, const Rectangle& part) {
  const float* in = p.x + row * p.ldx;
  float* out = p.y + row * p.ldy;
  p.kind == PoolKind::max ? forward<PoolKind::max>(p, part, in, out) : forward<PoolKind::average>(p, part, in, out);
}

void pool_forward(Stream, const Pool& p) {
  for (Index row = 0; row < p.rows; ++row) forward_row(p, row, whole(p));
}

void pool_region(Stream, const Pool& p, const Region* changed, Region* region) {
  for (Index row = 0; row < p.rows; ++row) {
    region[row] = readers_of(changed[row], p.down, p.out_height, p.across, p.out_width);
    for (const Rectangle& part : region[row].part) forward_row(p, row, part);
  }
}

template <bool overlap>
void backward_row(const Pool& p, Index row) {
  const float *in = p.x + row * p.ldx, *out = p.y + row * p.ldy, *from = p.dy + row * p.lddy;
  float* to = p.dx + row * p.lddx;
  if (!p.tiled) for_lanes(p.in_height * p.in_width * p.channels, [&](Index i, Index n) { store(to + i, Vec{}, n); });
  p.kind == PoolKind::max ? backward<PoolKind::max, overlap>(p, in, out, from, to)
                          : backward<PoolKind::average, overlap>(p, in, out, from, to);
}

void pool_backward(Stream, const Pool& p) {
  for (Index row = 0; row < p.rows; ++row) p.tiled ? backward_row<false>(p, row) : backward_row<true>(p, row);
}

}  // namespace

void add_pool(Kernels& k) {
  k.pool_forward = pool_forward;
  k.pool_backward = pool_backward;
  k.pool_region = pool_region;
}

}  // namespace epsball::EPSBALL_ISA
