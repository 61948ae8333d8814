// Worst case of a linear model, a block per row; mirrors cpp/linear_exact.cpp.
#include "launch.cuh"

#include "attacks/linear_row.h"
#include "row.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

__device__ double logit(const LinearCase& a, Index row, Index k) {
  const float* weight = a.weight + k * a.features;
  const float* x0 = a.x0 + row * a.ld;
  const double sum =
      row_sum(a.features, [&](Index i) { return static_cast<double>(weight[i]) * static_cast<double>(x0[i]); });
  return a.bias ? a.bias[k] + sum : sum;
}

// What LinearRow::worst does feature by feature in one thread, with its sums over the block.
struct Worst {
  LinearRow r;
  double t = 0.0;    // the multiplier at which the budget is spent
  Index filled = 0;  // L1: features before this whose |c| is t are filled, the next gets the rest
  double rest = 0.0;

  __device__ explicit Worst(const LinearRow& row) : r(row) {
    if (r.norm == Norm::linf) return;
    t = multiplier();
    if (r.norm != Norm::l1) return;
    const double left = r.eps - size(t);
    const auto spent = [&](Index m) {
      return row_sum(r.features, [&](Index i) { return i < m && tie(i) ? r.room(i, r.c(i)) : 0.0; });
    };
    filled = leading(r.features, [&](Index m) { return spent(m) <= left; });
    rest = left - spent(filled);
  }

  __device__ bool tie(Index i) const { return magnitude(i) == t && t > 0.0; }
  __device__ double magnitude(Index i) const {
    const double c = r.c(i);
    return c < 0.0 ? -c : c;
  }

  // Norm of the move (squared for L2) under a multiplier.
  __device__ double size(double multiplier) const {
    return row_sum(r.features, [&](Index i) {
      const double v = r.length(i, multiplier);
      return r.norm == Norm::l2 ? v * v : v;
    });
  }

  // By bisection over the bits of a double: the size grows with it for L2, and falls for L1.
  __device__ double multiplier() const {
    const bool grows = r.norm == Norm::l2;
    const double budget = grows ? r.eps * r.eps : r.eps;
    if (grows && size(1e300) <= budget) return 1e300;
    const std::int64_t most = __builtin_bit_cast(std::int64_t, 1e300);
    std::int64_t fits = grows ? 0 : most, bursts = grows ? most : -1;
    while ((fits > bursts ? fits - bursts : bursts - fits) > 1) {
      const std::int64_t middle = fits + (bursts - fits) / 2;
      (size(__builtin_bit_cast(double, middle)) <= budget ? fits : bursts) = middle;
    }
    return __builtin_bit_cast(double, fits);
  }

  // How far feature i moves, in the direction of c.
  __device__ double length(Index i) const {
    if (r.norm == Norm::l1 && tie(i))
      return i < filled ? r.room(i, r.c(i)) : i == filled ? r.most(rest, r.room(i, r.c(i))) : 0.0;
    return r.length(i, t);
  }

  __device__ double gain() const {
    return row_sum(r.features, [&](Index i) { return magnitude(i) * length(i); });
  }
};

__device__ double margin_at_x0(const LinearCase& a, Index row, Index rival) {
  const Index label = a.labels[row];
  if (a.classes == 1) return label == 1 ? -logit(a, row, 0) : logit(a, row, 0);
  return logit(a, row, rival) - logit(a, row, label);
}

// ---- kernels ----

__global__ void linear_exact_kernel(LinearCase a, const std::int32_t* active) {
  for_rows(rows_now(a.rows, active), [&](Index row) {
    double best = -__builtin_inf();
    Index rival = 0;
    for (Index k = 0; k < a.classes; ++k) {
      if (a.classes > 1 && k == a.labels[row]) continue;  // the whole block
      const double m = margin_at_x0(a, row, k) + Worst(rival_row(a, row, k)).gain();
      if (m > best) best = m, rival = k;
    }
    if (threadIdx.x == 0) a.margin[row] = best;
    const Worst worst(rival_row(a, row, rival));
    const LinearRow& r = worst.r;
    float* x = a.x + row * a.ld;
    // The factor keeps the rounding to float from leaving the ball.
    for_features(a.features, [&](Index i) {
      const double d = r.c(i) < 0.0 ? -worst.length(i) : worst.length(i);
      x[i] = clip(add_toward(r.x0[i], static_cast<float>(d * (1.0 - 0x1p-24))), r.lo[i], r.hi[i]);
    });
  });
}

// ---- what the table calls ----

void linear_exact(Stream stream, const LinearCase& a) {
  const DeviceStream s = device_stream(stream);
  launch(linear_exact_kernel, rows_grid(a.rows), kRowThreads, 0, s, a, s.active);
}

}  // namespace

void add_linear_exact(Kernels& k) { k.linear_exact = linear_exact; }

}  // namespace epsball::cuda
