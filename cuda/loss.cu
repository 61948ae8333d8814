// Losses with their logit gradients and predictions, one row per thread, so that a row's sums are the CPU's chains;
// mirrors cpp/loss.cpp.
#include "launch.cuh"

#include "flat.cuh"
#include "loss.cuh"
#include "losses/cross_entropy.h"
#include "losses/pair.h"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// A pair of rows, as src/losses/pair.h asks of it.
struct PairRow {
  const PairRows& p;
  Index row;
  bool two;  // one logit that plays two classes
  std::int32_t label;

  EPSBALL_HD PairRow(const PairRows& args, Index r)
      : p(args), row(r), two(plays_two_classes(args.kind, args.classes)), label(args.labels ? args.labels[r] : 0) {}
  EPSBALL_HD float logit(const float* z, Index j) const {
    if (two) return j == 0 ? 0.0f : z[row * p.ld];
    return z[row * p.ld + j];
  }
  EPSBALL_HD void add(float* d, Index j, float v) const {
    if (two && j == 0) return;
    d[row * p.d_ld + (two ? 0 : j)] += v;
  }
  EPSBALL_HD float a(Index j) const { return logit(p.a, j); }
  EPSBALL_HD float b(Index j) const { return logit(p.b, j); }
  EPSBALL_HD bool is_label(Index j) const { return label == static_cast<std::int32_t>(j); }
  EPSBALL_HD void add_a(Index j, float v) const { add(p.da, j, v); }
  EPSBALL_HD void add_b(Index j, float v) const { add(p.db, j, v); }
};

// ---- kernels ----

__global__ void loss_kernel(LossRows a, const std::int32_t* active) {
  for_flat(rows_now(a.rows, active), [&](Index r) { loss_of_row(a, r); });
}

__global__ void pair_kernel(PairRows a, const std::int32_t* active) {
  for_flat(rows_now(a.rows, active), [&](Index r) {
    const PairRow row(a, r);
    a.loss[r] = pair_loss<float>(row, row.two ? 2 : a.classes, a.kind, a.coupling, a.scale);
  });
}

__global__ void softmax_kernel(Index rows, Index classes, const float* logits, Index ld, float* p, Index p_ld,
                               const std::int32_t* active) {
  for_flat(rows_now(rows, active), [&](Index row) {
    const float* const z = logits + row * ld;
    if (classes == 1) {
      p[row * p_ld] = sigmoid(z[0]);
      return;
    }
    const SoftRow<float> soft = soft_row<float>(classes, [&](Index j) { return z[j]; });
    for (Index j = 0; j < classes; ++j) p[row * p_ld + j] = exp(soft.log_p(z[j]));
  });
}

// ---- what the table calls ----

constexpr unsigned kThreads = 32;  // few, so that few rows still reach many multiprocessors

dim3 grid_of(Index rows) { return dim3(static_cast<unsigned>(ceil_div<Index>(rows, kThreads))); }

void loss(Stream stream, const LossRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(loss_kernel, grid_of(a.rows), kThreads, 0, s, a, s.active);
}

void pairs(Stream stream, const PairRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(pair_kernel, grid_of(a.rows), kThreads, 0, s, a, s.active);
}

void softmax(Stream stream, Index rows, Index classes, const float* logits, Index ld, float* p, Index p_ld) {
  const DeviceStream s = device_stream(stream);
  launch(softmax_kernel, grid_of(rows), kThreads, 0, s, rows, classes, logits, ld, p, p_ld, s.active);
}

}  // namespace

void add_loss(Kernels& k) {
  k.loss = loss;
  k.pair_loss = pairs;
  k.softmax = softmax;
}

}  // namespace epsball::cuda
