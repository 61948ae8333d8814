// Losses with their logit gradients and predictions, one row per thread, so that a row's sums are the CPU's chains;
// mirrors cpp/loss.cpp.
#include "launch.cuh"

#include "flat.cuh"
#include "losses/confidence.h"
#include "losses/crammer_singer.h"
#include "losses/cross_entropy.h"
#include "losses/dlr.h"
#include "losses/hinge.h"
#include "losses/margin.h"
#include "losses/pair.h"
#include "losses/squared_error.h"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// One row of logits, as src/losses/ wants it.
struct LossRow {
  const LossRows& a;
  Index row;
  std::int32_t label, rival;

  EPSBALL_HD LossRow(const LossRows& args, Index r)
      : a(args), row(r), label(args.labels ? args.labels[r] : 0), rival(args.rivals ? args.rivals[r] : 0) {}
  EPSBALL_HD bool hard() const { return a.labels != nullptr; }
  EPSBALL_HD float z(Index j) const { return a.logits[row * a.ld + j] * a.sharpness; }
  EPSBALL_HD bool is_label(Index j) const { return label == static_cast<std::int32_t>(j); }
  EPSBALL_HD bool is_rival(Index j) const { return rival == static_cast<std::int32_t>(j); }
  EPSBALL_HD float target(Index j) const {
    if (!hard()) return a.targets[row * a.targets_ld + j];
    if (a.classes == 1) return to_float(label);
    return is_label(j) ? 1.0f : 0.0f;
  }
  EPSBALL_HD void dz(Index j, float v) const { a.dlogits[row * a.dlogits_ld + j] = v; }
  EPSBALL_HD float get_dz(Index j) const { return a.dlogits[row * a.dlogits_ld + j]; }
};

__device__ float value(const LossRow& row) {
  const LossRows& a = row.a;
  const bool gradient = a.dlogits != nullptr;
  const float scale = a.scale * a.sharpness;
  switch (a.kind) {
    case Loss::cross_entropy:
      return cross_entropy<float>(row, a.classes, gradient, a.unit, scale);
    case Loss::margin:
      return margin<float>(row, a.classes, gradient, scale);
    case Loss::squared_error:
      return squared_error<float>(row, a.classes, gradient, a.unit, scale);
    case Loss::confidence:
      return confidence<float>(row, a.classes, gradient, a.unit, scale);
    case Loss::hinge:
      return hinge<float>(row, a.classes, gradient, scale);
    case Loss::crammer_singer:
      return crammer_singer<float>(row, a.classes, gradient, scale);
    case Loss::dlr:
      return dlr<float>(row, a.classes, gradient, a.unit, scale);
    case Loss::dlr_targeted:
      return dlr_targeted<float>(row, a.classes, gradient, a.unit, scale);
  }
  return 0.0f;
}

// The class of the largest logit, the first of equals; one class: logit > 0. `poison` is 0, or NaN if a logit is not
// finite, so that no later comparison hides it.
__device__ std::int32_t predict(const LossRow& row, float& poison) {
  if (row.a.classes == 1) {
    poison = row.z(0) * 0.0f;
    return row.z(0) > 0.0f;
  }
  float best = -__builtin_inff();
  std::int32_t at = 0;
  poison = 0.0f;
  for (Index j = 0; j < row.a.classes; ++j) {
    const float z = row.z(j);
    if (z > best) best = z, at = static_cast<std::int32_t>(j);
    poison += z * 0.0f;
  }
  return at;
}

__device__ float weighted(const LossRow& row, float value) {
  if (!row.a.weights) return value;
  const float weight = row.a.weights[row.row];
  for (Index j = 0; row.a.dlogits && j < row.a.classes; ++j) row.dz(j, row.get_dz(j) * weight);
  return value * weight;
}

// A pair of rows, as src/losses/pair.h wants it.
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
  for_flat(rows_now(a.rows, active), [&](Index r) {
    const LossRow row(a, r);
    float poison;
    a.predicted[r] = predict(row, poison);
    a.loss[r] = weighted(row, value(row)) + poison;
  });
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
