// Worst case of a linear model, row by row.
#include "attacks/linear_row.h"

#include "project.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

double logit(const LinearCase& a, Index row, Index k) {
  double z = a.bias ? a.bias[k] : 0.0;
  for (Index i = 0; i < a.features; ++i)
    z += static_cast<double>(a.weight[k * a.features + i]) * static_cast<double>(a.x0[row * a.ld + i]);
  return z;
}

double margin_at_x0(const LinearCase& a, Index row, Index rival) {
  if (a.classes == 1) return a.labels[row] == 1 ? -logit(a, row, 0) : logit(a, row, 0);
  return logit(a, row, rival) - logit(a, row, a.labels[row]);
}

void linear_exact(Stream, const LinearCase& a) {
  for (Index row = 0; row < a.rows; ++row) {
    double best = -__builtin_inf();
    Index rival = 0;
    for (Index k = 0; k < a.classes; ++k) {
      if (a.classes > 1 && k == a.labels[row]) continue;
      const double m = margin_at_x0(a, row, k) + rival_row(a, row, k).worst([](Index, double) {});
      if (m > best) {
        best = m;
        rival = k;
      }
    }
    a.margin[row] = best;
    const LinearRow r = rival_row(a, row, rival);
    float* x = a.x + row * a.ld;
    // The factor keeps the rounding to float from leaving the ball.
    r.worst([&](Index i, double d) {
      const float from = r.x0[i];
      const float to = add_toward(from, static_cast<float>(d * (1.0 - 0x1p-24)));
      x[i] = clip(to, r.lo[i], r.hi[i]);
    });
  }
}

}  // namespace

void add_linear_exact(Kernels& k) { k.linear_exact = linear_exact; }

}  // namespace epsball::EPSBALL_ISA
