// Sums over rows.
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

// x - x is 0, and only for infinities and NaN it is not.
bool all_finite(Stream, Index count, const float* x) {
  Vec sum = {};
  for_lanes(count, [&](Index i, Index n) {
    const Vec v = load(x + i, n);
    sum = sum + (v - v);
  });
  return !any(sum != 0.0f);
}

bool all_inside(Stream, Index rows, Index n, const float* x, const float* lo, const float* hi) {
  Mask outside = {};
  for (Index r = 0; r < rows; ++r)
    for_lanes(n, [&](Index j, Index m) {
      const Vec v = load(x + r * n + j, m);
      outside = outside | !(v >= load(lo + j, m)) | !(v <= load(hi + j, m));
    });
  return !any(outside);
}

// sums[j] = x[0][j] + x[1][j] + ... in that order.
void column_sums(Stream, Index rows, Index n, const float* x, Index ldx, float* sums) {
  for_lanes(n, [&](Index j, Index m) {
    Vec s = {};
    for (Index r = 0; r < rows; ++r) s = s + load(x + r * ldx + j, m);
    store(sums + j, s, m);
  });
}

// Calls f(row, pixel, offset of its first channel in x) in order.
template <class F>
EPSBALL_INLINE void for_pixels(const Channels& c, F f) {
  for (Index r = 0; r < c.rows; ++r)
    for (Index p = 0; p < c.pixels; ++p) f(r, p, c.x + r * c.ldx + p * c.channels);
}

void channel_sums(Stream, const Channels& c, float* sums) {
  for_lanes(c.channels, [&](Index j, Index m) {
    Vec s = {};
    for_pixels(c, [&](Index, Index, const float* x) { s = s + load(x + j, m); });
    store(sums + j, s, m);
  });
}

void channel_moments(Stream, const Channels& c, float* mean, float* variance) {
  const auto count = static_cast<double>(c.rows * c.pixels);
  for_lanes(c.channels, [&](Index j, Index m) {
    DVec sum = {}, squares = {};
    for_pixels(c, [&](Index, Index, const float* x) { sum = sum + to_double(load(x + j, m)); });
    const DVec center = sum / count;
    for_pixels(c, [&](Index, Index, const float* x) {
      const DVec d = to_double(load(x + j, m)) - center;
      squares = squares + d * d;
    });
    store(mean + j, to_single(center), m);
    store(variance + j, to_single(squares / count), m);
  });
}

void channel_products(Stream, const Channels& c, const float* center, const float* dy, Index lddy, float* sums,
                      float* products) {
  for_lanes(c.channels, [&](Index j, Index m) {
    const DVec mean = to_double(load(center + j, m));
    DVec sum = {}, product = {};
    for_pixels(c, [&](Index r, Index p, const float* x) {
      const DVec d = to_double(load(dy + r * lddy + p * c.channels + j, m));
      sum = sum + d;
      product = product + d * (to_double(load(x + j, m)) - mean);
    });
    store(sums + j, to_single(sum), m);
    store(products + j, to_single(product), m);
  });
}

}  // namespace

void add_reduce(Kernels& k) {
  k.all_finite = all_finite;
  k.all_inside = all_inside;
  k.column_sums = column_sums;
  k.channel_sums = channel_sums;
  k.channel_moments = channel_moments;
  k.channel_products = channel_products;
}

}  // namespace epsball::EPSBALL_ISA
