// Images under attack: filters, and other sizes.
#include "attacks/resize_row.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

void clear(Index n, float* x) {
  for_lanes(n, [&](Index i, Index m) { store(x + i, Vec{}, m); });
}

// out (n) += tap * x (n).
void add_scaled(Index n, float tap, const float* x, float* out) {
  for_lanes(n,
            [&](Index i, Index m) { store(out + i, mul_add(load(x + i, m), splat<Vec>(tap), load(out + i, m)), m); });
}

// Runs f(tap, to, from, n): `n` values at `to` take from as many at `from`, which are all those within [0, size).
template <class F>
void for_taps(const BlurRows& a, Index size, F f) {
  for (Index t = 0; t < a.count; ++t) {
    const Index shift = t - (a.count - 1) / 2, to = shift < 0 ? -shift : 0, from = shift < 0 ? 0 : shift;
    const Index n = size - (shift < 0 ? -shift : shift);
    if (n > 0) f(a.taps[t], to, from, n);
  }
}

void blur(Stream, const BlurRows& a) {
  const Index pixels = a.height * a.width, features = a.channels * pixels;
  for (Index r = 0; r < a.rows; ++r) {
    const float* x = a.x + r * a.ld;
    float* const between = a.between + r * a.ld;
    float* const out = a.out + r * a.ld;
    clear(features, between);
    for (Index c = 0; c < features; c += pixels)
      for_taps(a, a.height, [&](float tap, Index to, Index from, Index n) {
        add_scaled(n * a.width, tap, x + c + from * a.width, between + c + to * a.width);
      });
    clear(features, out);
    for (Index line = 0; line < features; line += a.width)
      for_taps(a, a.width, [&](float tap, Index to, Index from, Index n) {
        add_scaled(n, tap, between + line + from, out + line + to);
      });
  }
}

// out (n) = first * x (n) + second * y (n).
void weigh(Index n, float first, const float* x, float second, const float* y, float* out) {
  for_lanes(n, [&](Index i, Index m) {
    store(out + i, mul_add(load(y + i, m), splat<Vec>(second), load(x + i, m) * first), m);
  });
}

// One channel.
void shrink(const ResizeRows& a, const Resized& to, const float* x, float* between, float* out) {
  for (Index y = 0; y < to.tall; ++y) {
    const Shares s = shares(y, to.tall, a.height);
    weigh(a.width, s.first, x + s.at * a.width, s.second, x + s.next * a.width, between + y * a.width);
  }
  clear(a.height * a.width, out);
  for (Index z = 0; z < to.wide; ++z) {
    const Shares s = shares(z, to.wide, a.width);
    for (Index y = 0; y < to.tall; ++y) {
      const float* const line = between + y * a.width;
      out[(to.top + y) * a.width + to.left + z] = mul_add(line[s.next], s.second, line[s.at] * s.first);
    }
  }
}

// Its transpose.
void shrink_back(const ResizeRows& a, const Resized& to, const float* x, float* between, float* out) {
  clear(a.height * a.width, between);
  for (Index z = 0; z < to.wide; ++z) {
    const Shares s = shares(z, to.wide, a.width);
    for (Index y = 0; y < to.tall; ++y) {
      const float g = x[(to.top + y) * a.width + to.left + z];
      float* const line = between + y * a.width;
      line[s.at] = mul_add(g, s.first, line[s.at]);
      line[s.next] = mul_add(g, s.second, line[s.next]);
    }
  }
  clear(a.height * a.width, out);
  for (Index y = 0; y < to.tall; ++y) {
    const Shares s = shares(y, to.tall, a.height);
    add_scaled(a.width, s.first, between + y * a.width, out + s.at * a.width);
    add_scaled(a.width, s.second, between + y * a.width, out + s.next * a.width);
  }
}

void resize(Stream, const ResizeRows& a) {
  const Index pixels = a.height * a.width;
  for (Index r = 0; r < a.rows; ++r) {
    const Resized to = resized(a, r);
    for (Index at = r * a.ld; at < r * a.ld + a.channels * pixels; at += pixels) {
      if (!to.moves)
        for_lanes(pixels, [&](Index i, Index n) { store(a.out + at + i, load(a.x + at + i, n), n); });
      else if (a.gradient)
        shrink_back(a, to, a.x + at, a.between + at, a.out + at);
      else
        shrink(a, to, a.x + at, a.between + at, a.out + at);
    }
  }
}

}  // namespace

void add_images(Kernels& k) {
  k.blur = blur;
  k.resize = resize;
}

}  // namespace epsball::EPSBALL_ISA
