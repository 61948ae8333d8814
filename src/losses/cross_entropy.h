// Cross-entropy of a softmax (one class: of a sigmoid) with its logit gradient, for hard and soft labels.
#pragma once

#include "losses/row.h"

namespace epsball::EPSBALL_ISA {

// log(x), 0 for 0.
template <class V>
EPSBALL_HD V log_of_size(V x) {
  return select(x > 0.0f, log(max(x, splat<V>(1.17549435e-38f))), V{});
}

// One logit z, target t: t softplus(-z) + (1 - t) softplus(z).
template <class V, LossRow<V> Row>
EPSBALL_HD V logistic(const Row& row, bool gradient, bool unit, float scale) {
  const V one = splat<V>(1.0f);
  V z = row.z(0), t = row.target(0);
  if (gradient) {
    V d = (one - t) * sigmoid(z) - t * sigmoid(-z);
    if (unit && row.sized())
      row.log_size(select(t == 0.0f, -softplus(-z), select(t == 1.0f, -softplus(z), log_of_size(abs(d)))));
    // A label of exactly 0 or 1 has a direction even where the sigmoid underflows.
    if (unit) d = select(t == 0.0f, one, select(t == 1.0f, -one, sign(d)));
    row.dz(0, d * scale);
  }
  return t * softplus(-z) + (one - t) * softplus(z);
}

// Hard label y. With a = logsumexp over j != y minus z_y: loss = softplus(a), p_j = q_j sigmoid(a) where q is the
// softmax over the other classes, and the true-class derivative is -sigmoid(a) = -sum of the others, never p_y - 1.
template <class V, LossRow<V> Row>
EPSBALL_HD V cross_entropy_hard(const Row& row, Index classes, bool gradient, bool unit, float scale) {
  V other = splat<V>(-__builtin_inff()), zy = V{};
  for (Index j = 0; j < classes; ++j) {
    V z = row.z(j);
    auto y = row.is_label(j);
    zy = select(y, z, zy);
    other = select(y, other, max(other, z));
  }
  V total = V{};
  for (Index j = 0; j < classes; ++j) {
    V e = select(row.is_label(j), V{}, exp(row.z(j) - other));
    total = total + e;
    if (gradient) row.dz(j, e);
  }
  V a = other + log(total) - zy;
  if (gradient) {
    if (unit && row.sized()) row.log_size(-softplus(-a));
    V away = unit ? splat<V>(scale) : sigmoid(a) * scale;
    V each = away / total;
    for (Index j = 0; j < classes; ++j) row.dz(j, select(row.is_label(j), -away, row.get_dz(j) * each));
  }
  return softplus(a);
}

// Divides a row's dz by its largest magnitude, if that is not 0, and multiplies by `scale`. exp(log_more) has been left
// out of dz.
template <class V, LossRow<V> Row>
EPSBALL_HD void scale_to_unit(const Row& row, Index classes, float scale, V log_more = V{}) {
  V top = V{};
  for (Index j = 0; j < classes; ++j) top = max(top, abs(row.get_dz(j)));
  if (row.sized()) row.log_size(log_of_size(top) + log_more);
  V factor = splat<V>(scale) / select(top > 0.0f, top, splat<V>(1.0f));
  for (Index j = 0; j < classes; ++j) row.dz(j, row.get_dz(j) * factor);
}

// Soft targets t with sum T: T logsumexp(z) - sum t_j z_j; dz_j = p_j (T - t_j) - t_j (1 - p_j), which has no
// cancellation where t is one-hot, and for the top class minus the sum of the others: t there is rounded to 1, and
// where p and t are close to it the rounding would be all that is left.
template <class V, LossRow<V> Row>
EPSBALL_HD V cross_entropy_soft(const Row& row, Index classes, bool gradient, bool unit, float scale) {
  V top = splat<V>(-__builtin_inff()), at = V{}, weight = V{};
  for (Index j = 0; j < classes; ++j) {
    V z = row.z(j);
    at = select(z > top, splat<V>(static_cast<float>(j)), at);
    top = max(top, z);
    weight = weight + row.target(j);
  }
  V others = V{}, loss = V{};  // others: the sum of exponentials without the top class
  for (Index j = 0; j < classes; ++j) {
    V z = row.z(j), e = exp(z - top);
    others = others + select(at == static_cast<float>(j), V{}, e);
    loss = loss + row.target(j) * (top - z);
    if (gradient) row.dz(j, e);
  }
  V total = others + 1.0f;
  if (gradient) {
    V sum = V{};
    for (Index j = 0; j < classes; ++j) {
      V t = row.target(j), e = row.get_dz(j);
      V d = (e * (weight - t) - t * (total - e)) / total * (unit ? 1.0f : scale);
      d = select(at == static_cast<float>(j), V{}, d);
      sum = sum + d;
      row.dz(j, d);
    }
    for (Index j = 0; j < classes; ++j) row.dz(j, select(at == static_cast<float>(j), -sum, row.get_dz(j)));
    if (unit) scale_to_unit<V>(row, classes, scale);
  }
  return loss + weight * log(total);
}

template <class V, LossRow<V> Row>
EPSBALL_HD V cross_entropy(const Row& row, Index classes, bool gradient, bool unit, float scale) {
  if (classes == 1) return logistic<V>(row, gradient, unit, scale);
  if (row.hard()) return cross_entropy_hard<V>(row, classes, gradient, unit, scale);
  return cross_entropy_soft<V>(row, classes, gradient, unit, scale);
}

}  // namespace epsball::EPSBALL_ISA
