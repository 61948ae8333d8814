// Rows as vectors: norms, products and combinations, of which the attacks make their steps.
#include "table.h"
#include "term.h"

namespace epsball::EPSBALL_ISA {
namespace {

double row_norm(const RowNorms& a, Index row) {
  const float* x = a.x + row * a.ld;
  const float* y = a.y ? a.y + row * a.ld : nullptr;
  DVec total = {};
  double top = 0.0;
  for_lanes(a.features, [&](Index i, Index n) {
    DVec d = to_double(load(x + i, n));
    if (y) d = d - to_double(load(y + i, n));
    d = d < 0.0 ? -d : d;
    if (a.norm == Norm::linf) total = d > total ? d : total;
    if (a.norm == Norm::l2) total = total + d * d;
    if (a.norm == Norm::l1) total = total + d;
    if (a.norm == Norm::l0) total = total + (d > 0.0 ? DVec{} + 1.0 : DVec{});
  });
  if (a.norm != Norm::linf) return a.norm == Norm::l2 ? __builtin_sqrt(sum(total)) : sum(total);
  double lanes[kLanes];
  __builtin_memcpy(lanes, &total, sizeof(lanes));
  for (const double v : lanes) top = v > top ? v : top;
  return top;
}

void row_norms(Stream, const RowNorms& a) {
  for (Index r = 0; r < a.rows; ++r) a.out[r] = static_cast<float>(row_norm(a, r));
}

void row_dots(Stream, Index rows, Index n, const float* x, Index ldx, const float* y, Index ldy, float* out) {
  for (Index r = 0; r < rows; ++r) {
    DVec total = {};
    for_lanes(n, [&](Index i, Index m) {
      total = total + to_double(load(x + r * ldx + i, m)) * to_double(load(y + r * ldy + i, m));
    });
    out[r] = static_cast<float>(sum(total));
  }
}

void combine(Stream, const CombineRows& a) {
  for (Index r = 0; r < a.rows; ++r) {
    float scale[4] = {};
    for (int t = 0; t < a.count; ++t) scale[t] = factor(a.terms[t], r);
    for_lanes(a.features, [&](Index i, Index n) {
      Vec v = load(a.terms[0].x + r * a.terms[0].ld + i, n) * scale[0];
      for (int t = 1; t < a.count; ++t) {
        const Term& term = a.terms[t];
        v = mul_add(load(term.x + r * term.ld + i, n), splat<Vec>(scale[t]), v);
      }
      const Index limit = r * a.ld_limits + i;
      if (a.lo) v = clip(v, load(a.lo + limit, n), load(a.hi + limit, n));
      store(a.out + r * a.ld + i, v, n);
    });
  }
}

}  // namespace

void add_vectors(Kernels& k) {
  k.row_norms = row_norms;
  k.row_dots = row_dots;
  k.combine = combine;
}

}  // namespace epsball::EPSBALL_ISA
