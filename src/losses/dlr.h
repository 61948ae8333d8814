// Difference of logits ratio: how far the label is from losing, in units of the distance between the largest logits.
//
// Croce and Hein 2020. Neither a shift nor a positive scale of the logits changes it.
#pragma once

#include "losses/cross_entropy.h"

namespace epsball::EPSBALL_ISA {

// The four largest logits in order, and their classes; of equal ones the first class comes first.
template <class V>
struct TopLogits {
  V z[4], at[4];
};

template <class V, LossRow<V> Row>
EPSBALL_HD TopLogits<V> top_logits(const Row& row, Index classes) {
  TopLogits<V> top;
  for (int k = 0; k < 4; ++k) top.z[k] = splat<V>(-__builtin_inff()), top.at[k] = splat<V>(-1.0f);
  for (Index j = 0; j < classes; ++j) {
    V z = row.z(j), at = splat<V>(static_cast<float>(j));
    for (int k = 0; k < 4; ++k) {
      auto above = z > top.z[k];
      V next = select(above, top.z[k], z), next_at = select(above, top.at[k], at);
      top.z[k] = select(above, z, top.z[k]);
      top.at[k] = select(above, at, top.at[k]);
      z = next;
      at = next_at;
    }
  }
  return top;
}

// d(gain / spread), where dgain is 1 at class `up` and -1 at the label, and dspread 1 at the first class, -third at the
// third and -fourth at the fourth. `unit`: times spread^2, then rescaled, as only its direction counts.
template <class V, LossRow<V> Row>
EPSBALL_HD void ratio_gradient(const Row& row, Index classes, const TopLogits<V>& top, V up, V gain, V spread,
                               float third, float fourth, bool unit, float scale) {
  V by = unit ? splat<V>(1.0f) : splat<V>(scale) / spread / spread;
  for (Index j = 0; j < classes; ++j) {
    const float at = static_cast<float>(j);
    V d = select(up == at, spread, V{}) - select(row.is_label(j), spread, V{});
    d = d - select(top.at[0] == at, gain, V{});
    d = d + select(top.at[2] == at, gain * third, V{}) + select(top.at[3] == at, gain * fourth, V{});
    row.dz(j, d * by);
  }
  if (unit) scale_to_unit<V>(row, classes, scale, -2.0f * log(spread));
}

inline constexpr float kLeastSpread = 1e-12f;  // where the largest logits are all equal

// (max_{j != y} z_j - z_y) / (z_(1) - z_(3)), positive where y is not predicted.
template <class V, LossRow<V> Row>
EPSBALL_HD V dlr(const Row& row, Index classes, bool gradient, bool unit, float scale) {
  const TopLogits<V> top = top_logits<V>(row, classes);
  V zy = V{}, label = V{};
  for (Index j = 0; j < classes; ++j) {
    zy = select(row.is_label(j), row.z(j), zy);
    label = select(row.is_label(j), splat<V>(static_cast<float>(j)), label);
  }
  auto leads = top.at[0] == label;
  V other = select(leads, top.z[1], top.z[0]), up = select(leads, top.at[1], top.at[0]);
  V gain = other - zy, spread = top.z[0] - top.z[2] + kLeastSpread;
  if (gradient) ratio_gradient<V>(row, classes, top, up, gain, spread, 1.0f, 0.0f, unit, scale);
  return gain / spread;
}

// (z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2) with t the rival.
template <class V, RivalRow<V> Row>
EPSBALL_HD V dlr_targeted(const Row& row, Index classes, bool gradient, bool unit, float scale) {
  const TopLogits<V> top = top_logits<V>(row, classes);
  V zy = V{}, zt = V{}, up = V{};
  for (Index j = 0; j < classes; ++j) {
    zy = select(row.is_label(j), row.z(j), zy);
    zt = select(row.is_rival(j), row.z(j), zt);
    up = select(row.is_rival(j), splat<V>(static_cast<float>(j)), up);
  }
  V gain = zt - zy, spread = top.z[0] - (top.z[2] * 0.5f + top.z[3] * 0.5f) + kLeastSpread;
  if (gradient) ratio_gradient<V>(row, classes, top, up, gain, spread, 0.5f, 0.5f, unit, scale);
  return gain / spread;
}

}  // namespace epsball::EPSBALL_ISA
