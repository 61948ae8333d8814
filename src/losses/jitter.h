// Squared error of probabilities whose logits are brought to one scale first, and which noise may blur (Schwinn et al.
// 2021).
#pragma once

#include "cross_entropy.h"

namespace epsball::EPSBALL_ISA {

// One logit has no scale: the squared error of its sigmoid.
template <class V, NoisyRow<V> Row>
EPSBALL_HD V jitter_logistic(const Row& row, bool gradient, bool unit, float scale) {
  const V z = row.z(0), t = row.target(0);
  const V error = select(t == 1.0f, -sigmoid(-z), sigmoid(z)), noisy = error + row.noise(0);
  if (gradient) row.dz(0, (unit ? sign(noisy) : noisy * sigmoid(z) * sigmoid(-z) * 2.0f) * scale);
  return error * error;
}

// Of a hard label y; noise(j) is added to a probability. p = softmax(stretch
// z / max |z|), loss = the mean of (p_j - [j = y])^2; the derivative is that of (p_j + noise_j - [j = y])^2. Nothing
// cancels where one probability is all but 1: p_y - 1 is minus the sum of the others, errors are taken relative to that
// of the largest logit, and its derivative by z / max |z| is minus the sum of the others'.
template <class V, NoisyRow<V> Row>
EPSBALL_HD V jitter(const Row& row, Index classes, float stretch, bool gradient, bool unit, float scale) {
  if (classes == 1) return jitter_logistic<V>(row, gradient, unit, scale);
  V most = V{}, at = V{}, top = splat<V>(-__builtin_inff()), lead = V{};  // at, lead: the classes of most, top
  for (Index j = 0; j < classes; ++j) {
    const V z = row.z(j), here = splat<V>(static_cast<float>(j));
    at = select(abs(z) > most, here, at);
    most = max(most, abs(z));
    lead = select(z > top, here, lead);
    top = max(top, z);
  }
  const V size = select(most > 0.0f, most, splat<V>(1.0f)), by = splat<V>(stretch) / size;
  const auto power = [&](Index j) { return exp((row.z(j) - top) * by); };
  const auto leads = [&](Index j) { return lead == static_cast<float>(j); };
  V total = V{}, others = V{};
  for (Index j = 0; j < classes; ++j) {
    const V e = power(j);
    total = total + e;
    others = others + select(row.is_label(j), V{}, e);
  }
  const auto error = [&](Index j, V e) { return select(row.is_label(j), -others, e) / total; };
  V loss = V{}, base = V{};  // base: the error of the class that leads, with its noise
  for (Index j = 0; j < classes; ++j) {
    const V d = error(j, power(j));
    loss = mul_add(d, d, loss);
    base = select(leads(j), d + row.noise(j), base);
  }
  const float share = 1.0f / static_cast<float>(classes);
  if (!gradient) return loss * share;
  V mean = V{};  // of the errors relative to base, by the probabilities
  for (Index j = 0; j < classes; ++j) {
    const V e = power(j), d = select(leads(j), V{}, error(j, e) + row.noise(j) - base);
    row.dz(j, d);
    mean = mul_add(d, e / total, mean);
  }
  V rest = V{};
  for (Index j = 0; j < classes; ++j) {
    const V d = select(leads(j), V{}, power(j) / total * (row.get_dz(j) - mean));
    rest = rest + d;
    row.dz(j, d);
  }
  V along = V{};  // derivatives by z / max |z|, times it
  for (Index j = 0; j < classes; ++j) {
    const V d = select(leads(j), -rest, row.get_dz(j));
    along = mul_add(d, row.z(j) / size, along);
    row.dz(j, d);
  }
  for (Index j = 0; j < classes; ++j) {
    const V less = select(at == static_cast<float>(j), along * sign(row.z(j)), V{});
    row.dz(j, (row.get_dz(j) - less) * by * (unit ? 1.0f : 2.0f * share * scale));
  }
  if (unit) scale_to_unit<V>(row, classes, scale);
  return loss * share;
}

}  // namespace epsball::EPSBALL_ISA
