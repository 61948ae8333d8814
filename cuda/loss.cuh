// The loss of one row with its logit gradient and prediction, in one thread.
#pragma once

#include "launch.cuh"

#include "kernels.h"
#include "losses/confidence.h"
#include "losses/crammer_singer.h"
#include "losses/cross_entropy.h"
#include "losses/dlr.h"
#include "losses/hinge.h"
#include "losses/jitter.h"
#include "losses/logit.h"
#include "losses/margin.h"
#include "losses/squared_error.h"

namespace epsball::cuda {

// One row of logits, a LossRow.
struct ThreadRow {
  const LossRows& a;
  Index row;
  std::int32_t label, rival;

  EPSBALL_HD ThreadRow(const LossRows& args, Index r)
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
  EPSBALL_HD float noise(Index j) const { return a.noise ? a.noise[row * a.noise_ld + j] * a.noise_size : 0.0f; }
  EPSBALL_HD bool sized() const { return a.log_size != nullptr; }
  EPSBALL_HD void log_size(float v) const { a.log_size[row] = v; }
};

__device__ inline float value(const ThreadRow& row) {
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
    case Loss::logit:
      return logit<float>(row, a.classes, gradient, scale);
    case Loss::dlr:
      return dlr<float>(row, a.classes, gradient, a.unit, scale);
    case Loss::dlr_targeted:
      return dlr_targeted<float>(row, a.classes, gradient, a.unit, scale);
    case Loss::jitter:
      return jitter<float>(row, a.classes, a.stretch, gradient, a.unit, scale);
  }
  return 0.0f;
}

// The class of the largest logit, the first of equals; one class: logit > 0. `poison` is 0, or NaN if a logit is not
// finite, so that no later comparison hides it.
__device__ inline std::int32_t predict(const ThreadRow& row, float& poison) {
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

__device__ inline float weighted(const ThreadRow& row, float value) {
  if (!row.a.weights) return value;
  const float weight = row.a.weights[row.row];
  for (Index j = 0; row.a.dlogits && j < row.a.classes; ++j) row.dz(j, row.get_dz(j) * weight);
  return value * weight;
}

__device__ inline void loss_of_row(const LossRows& a, Index r) {
  const ThreadRow row(a, r);
  float poison;
  a.predicted[r] = predict(row, poison);
  if (row.sized()) row.log_size(0.0f);
  a.loss[r] = weighted(row, value(row)) + poison;
}

}  // namespace epsball::cuda
