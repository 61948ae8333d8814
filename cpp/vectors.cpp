// Rows as vectors: norms, products and combinations, of which the attacks make their steps.
#include "table.h"
#include "term.h"

namespace epsball::EPSBALL_ISA {
namespace {

// Comparisons are made in floats, which are the table's own vectors; sums in float64.
double row_norm(const RowNorms& a, Index row) {
  const Index at = row * a.ld;
  DVec total = {};
  Vec tops = {};
  for_lanes(a.features, [&](Index i, Index n) {
    Vec x = load(a.x + at + i, n), y = a.y ? load(a.y + at + i, n) : Vec{};
    if (a.lo) x = select(load(a.lo + at + i, n) < load(a.hi + at + i, n), x, y);
    const Vec high = max(x, y), low = min(x, y);
    const DVec d = to_double(high) - to_double(low);
    if (a.norm == Norm::linf) tops = max(tops, high - low);  // rounding keeps the order
    if (a.norm == Norm::l2) total = total + d * d;
    if (a.norm == Norm::l1) total = total + d;
    if (a.norm == Norm::l0) total = total + to_double(select(high > low, splat<Vec>(1.0f), Vec{}));
  });
  if (a.norm == Norm::linf) return largest(tops);
  return a.norm == Norm::l2 ? __builtin_sqrt(sum(total)) : sum(total);
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
