// Parameter updates of the optimisers.
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

EPSBALL_INLINE Vec decayed_gradient(const Update& u, Index i, Index n, Vec p) {
  Vec g = load(u.gradient + i, n) * u.scale;
  if (u.l2 != 0.0f) g = mul_add(p, splat<Vec>(u.l2), g);
  if (u.l1 != 0.0f) g = mul_add(sign(p), splat<Vec>(u.l1), g);
  return g;
}

EPSBALL_INLINE Vec shrunk(const Update& u, Vec p) { return u.decay != 0.0f ? p - p * (u.rate * u.decay) : p; }

// v <- momentum v + g; p <- p - rate v (Nesterov: p - rate (g + momentum v)).
void sgd(Stream, const Update& u) {
  for_lanes(u.count, [&](Index i, Index n) {
    const Vec p = load(u.parameter + i, n);
    Vec g = decayed_gradient(u, i, n, p);
    if (u.momentum != 0.0f) {
      const Vec v = mul_add(load(u.moment1 + i, n), splat<Vec>(u.momentum), g);
      store(u.moment1 + i, v, n);
      g = u.nesterov ? mul_add(v, splat<Vec>(u.momentum), g) : v;
    }
    store(u.parameter + i, shrunk(u, p) - g * u.rate, n);
  });
}

// Adam (Kingma and Ba 2015) with bias correction; with `decay` AdamW (Loshchilov and Hutter 2019).
void adam(Stream, const Update& u) {
  const AdamCorrections c = u.changing ? *u.changing : u.correction;
  const float step = u.rate / c.first, scale = 1.0f / c.second;
  for_lanes(u.count, [&](Index i, Index n) {
    const Vec p = load(u.parameter + i, n);
    const Vec g = decayed_gradient(u, i, n, p);
    Vec m = load(u.moment1 + i, n), v = load(u.moment2 + i, n);
    m = m * u.beta1 + g * (1.0f - u.beta1);
    v = v * u.beta2 + g * g * (1.0f - u.beta2);
    store(u.moment1 + i, m, n);
    store(u.moment2 + i, v, n);
    store(u.parameter + i, shrunk(u, p) - m * step / (sqrt(v * scale) + u.epsilon), n);
  });
}

double sum_squares(Stream, Index count, const float* x) {
  DVec total = {};
  for_lanes(count, [&](Index i, Index n) {
    const DVec v = to_double(load(x + i, n));
    total = total + v * v;
  });
  return sum(total);
}

void limit_norms(Stream, Index rows, Index n, float* x, float most) {
  for (Index row = 0; row < rows; ++row, x += n) {
    const double norm = __builtin_sqrt(sum_squares(nullptr, n, x));
    if (!(norm > most)) continue;
    const float factor = static_cast<float>(most / norm);
    for_lanes(n, [&](Index i, Index m) { store(x + i, load(x + i, m) * factor, m); });
  }
}

void blend(Stream, Index count, float share, const float* from, float* to) {
  for_lanes(count, [&](Index i, Index n) {
    const Vec t = load(to + i, n);
    store(to + i, mul_add(load(from + i, n) - t, splat<Vec>(share), t), n);
  });
}

}  // namespace

void add_optim(Kernels& k) {
  k.sgd = sgd;
  k.adam = adam;
  k.sum_squares = sum_squares;
  k.limit_norms = limit_norms;
  k.blend = blend;
}

}  // namespace epsball::EPSBALL_ISA
