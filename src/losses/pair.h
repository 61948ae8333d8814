// What couples two passes of the same rows, with the gradients of both logits: logit pairing, squeezing, TRADES, MART;
// and the worst case over intervals.
#pragma once

#include <concepts>

#include "formulas.h"
#include "kernels.h"

namespace epsball::EPSBALL_ISA {

// One pair of rows of logits, or with a vector V one pair in each lane. For divergences of a single logit it plays two
// classes, of which the first has logit 0.
template <class Row, class V>
concept PairedRows = requires(const Row& row, Index j, V v) {
  { row.a(j) } -> std::same_as<V>;  // the logits of class j
  { row.b(j) } -> std::same_as<V>;
  { select(row.is_label(j), v, v) } -> std::same_as<V>;  // whether j is the label
  row.add_a(j, v);                                       // adds to the derivatives by a(j) and b(j)
  row.add_b(j, v);
};

// sum (a - b)^2, or without b sum a^2.
template <class V, PairedRows<V> Row>
EPSBALL_HD V squared_distance(const Row& row, Index classes, bool single, float scale) {
  V total = V{};
  for (Index j = 0; j < classes; ++j) {
    V d = single ? row.a(j) : row.a(j) - row.b(j);
    total = mul_add(d, d, total);
    row.add_a(j, d * (2.0f * scale));
    if (!single) row.add_b(j, d * (-2.0f * scale));
  }
  return total;
}

// A softmax of one row: its largest logit, and the logarithm of the sum of exponentials above it.
template <class V>
struct SoftRow {
  V top, log_sum;

  EPSBALL_HD V log_p(V z) const { return (z - top) - log_sum; }
};

template <class V, class Logit>
EPSBALL_HD SoftRow<V> soft_row(Index classes, Logit z) {
  V top = splat<V>(-__builtin_inff()), total = V{};
  for (Index j = 0; j < classes; ++j) top = max(top, z(j));
  for (Index j = 0; j < classes; ++j) total = total + exp(z(j) - top);
  return {top, log(total)};
}

// KL(p || q) = sum p (log p - log q), and its gradients: q_j - p_j, and p_j (log p_j - log q_j - KL).
template <class V, PairedRows<V> Row>
EPSBALL_HD V divergence(const Row& row, Index classes, bool constant, V scale) {
  const SoftRow<V> p = soft_row<V>(classes, [&](Index j) { return row.a(j); });
  const SoftRow<V> q = soft_row<V>(classes, [&](Index j) { return row.b(j); });
  V total = V{};
  for (Index j = 0; j < classes; ++j) {
    V log_p = p.log_p(row.a(j)), log_q = q.log_p(row.b(j)), pj = exp(log_p);
    total = mul_add(pj, log_p - log_q, total);
    row.add_b(j, (exp(log_q) - pj) * scale);
  }
  if (constant) return total;
  for (Index j = 0; j < classes; ++j) {
    V log_p = p.log_p(row.a(j)), log_q = q.log_p(row.b(j));
    row.add_a(j, exp(log_p) * ((log_p - log_q) - total) * scale);
  }
  return total;
}

// -log q_y - log(1 - max_{k != y} q_k). With m that k and r the softmax over all but m, the second term's gradient is
// q_m at m and -q_m r_j elsewhere.
template <class V, PairedRows<V> Row>
EPSBALL_HD V boosted_cross_entropy(const Row& row, Index classes, float scale) {
  V best = splat<V>(-__builtin_inff()), at = V{};
  for (Index j = 0; j < classes; ++j) {
    V z = select(row.is_label(j), splat<V>(-__builtin_inff()), row.b(j));
    at = select(z > best, splat<V>(static_cast<float>(j)), at);
    best = max(best, z);
  }
  const auto is_rival = [&](Index j) { return at == static_cast<float>(j); };
  const SoftRow<V> q = soft_row<V>(classes, [&](Index j) { return row.b(j); });
  const SoftRow<V> rest =
      soft_row<V>(classes, [&](Index j) { return select(is_rival(j), splat<V>(-__builtin_inff()), row.b(j)); });
  V total = (q.top + q.log_sum) - (rest.top + rest.log_sum), others = V{};
  V q_rival = exp(q.log_p(best));
  for (Index j = 0; j < classes; ++j) {
    V log_q = q.log_p(row.b(j)), qj = exp(log_q);
    auto y = row.is_label(j);
    total = total - select(y, log_q, V{});
    others = others + select(y, V{}, qj);
    V second = select(is_rival(j), q_rival, -q_rival * exp(rest.log_p(row.b(j))));
    row.add_b(j, (select(y, V{}, qj) + second) * scale);
  }
  // The true class's own derivative of -log q_y is minus the sum of the others, which does not cancel.
  for (Index j = 0; j < classes; ++j) row.add_b(j, select(row.is_label(j), -others * scale, V{}));
  return total;
}

// Boosted cross-entropy of b plus coupling (1 - p_y) KL(p || q).
template <class V, PairedRows<V> Row>
EPSBALL_HD V mart(const Row& row, Index classes, float coupling, float scale) {
  const SoftRow<V> p = soft_row<V>(classes, [&](Index j) { return row.a(j); });
  V doubt = V{};  // 1 - p_y
  for (Index j = 0; j < classes; ++j) doubt = doubt + select(row.is_label(j), V{}, exp(p.log_p(row.a(j))));
  V kl = divergence<V>(row, classes, false, doubt * (coupling * scale));
  V through = kl * (coupling * scale) * (splat<V>(1.0f) - doubt);  // p_y times what 1 - p_y is multiplied with
  for (Index j = 0; j < classes; ++j) {
    V pj = exp(p.log_p(row.a(j)));
    row.add_a(j, through * select(row.is_label(j), -doubt, pj));
  }
  return boosted_cross_entropy<V>(row, classes, scale) + doubt * kl * coupling;
}

// The cross-entropy of the worst logits: the label's is a - b, all others are a + b.
template <class V, PairedRows<V> Row>
EPSBALL_HD V worst_case(const Row& row, Index classes, float scale) {
  const auto worst = [&](Index j) { return row.a(j) + select(row.is_label(j), -row.b(j), row.b(j)); };
  const SoftRow<V> p = soft_row<V>(classes, worst);
  V total = V{}, others = V{};
  for (Index j = 0; j < classes; ++j) {
    V log_p = p.log_p(worst(j));
    auto y = row.is_label(j);
    total = total - select(y, log_p, V{});
    V g = select(y, V{}, exp(log_p));
    others = others + g;
    row.add_a(j, g * scale);
    row.add_b(j, g * scale);
  }
  for (Index j = 0; j < classes; ++j) {
    V g = select(row.is_label(j), others * scale, V{});
    row.add_a(j, -g);
    row.add_b(j, g);
  }
  return total;
}

template <class V, PairedRows<V> Row>
EPSBALL_HD V pair_loss(const Row& row, Index classes, PairLoss kind, float coupling, float scale) {
  switch (kind) {
    case PairLoss::none:
      return V{};
    case PairLoss::squared_distance:
      return squared_distance<V>(row, classes, false, scale);
    case PairLoss::squared_size:
      return squared_distance<V>(row, classes, true, scale);
    case PairLoss::kl:
      return divergence<V>(row, classes, false, splat<V>(scale));
    case PairLoss::kl_constant:
      return divergence<V>(row, classes, true, splat<V>(scale));
    case PairLoss::mart:
      return mart<V>(row, classes, coupling, scale);
    case PairLoss::worst_case:
      return worst_case<V>(row, classes, scale);
  }
  return V{};
}

// Divergences of a model of one logit z are those of the logits (0, z).
EPSBALL_HD bool plays_two_classes(PairLoss kind, Index classes) {
  return classes == 1 && kind != PairLoss::squared_distance && kind != PairLoss::squared_size;
}

}  // namespace epsball::EPSBALL_ISA
