// Carlini and Wagner's L-infinity and L0 attacks: a row that wins must do with a lower threshold or with fewer
// features, one that cannot gets a larger constant.
#pragma once

#include "attacks/search_row.h"

namespace epsball {

struct TightenRows {
  const float* loss = nullptr;              // (rows) the margin at the point being left
  const float* penalty = nullptr;           // (rows) of the objective
  const float* distance = nullptr;          // (rows) L-infinity: a point wins within tau only; null: wherever it is
  const std::int32_t* predicted = nullptr;  // (rows)
  const std::int32_t* labels = nullptr;     // (rows)
  bool targeted = false, abort_early = false;
  float confidence = 0.0f;
  std::int32_t steps = 0, searches = 0;  // of a constant that does not win; constants
  float decrease = 0.9f;                 // of tau
  float beta1 = 0.9f, beta2 = 0.999f;    // of Adam

  float* constant = nullptr;        // (rows)
  float* tau = nullptr;             // (rows) or null
  float* before = nullptr;          // (rows) the objective when it was last looked at
  std::int32_t* step = nullptr;     // (rows) of this constant, since it won
  std::int32_t* spent = nullptr;    // (rows) steps in all, of which there are no more than all constants' together
  std::int32_t* search = nullptr;   // (rows)
  std::uint8_t* won = nullptr;      // (rows)
  std::uint8_t* restart = nullptr;  // (rows) a Restart
  float* push = nullptr;            // (rows) weight of the margin's gradient
  float* power1 = nullptr;          // (rows) beta1^step since the restart
  float* power2 = nullptr;          // (rows) beta2^step
  std::uint8_t* done = nullptr;     // (rows) set when the last constant has failed, or all steps are spent
};

// Of a row that has won, the features that matter least to the margin go back to x0 for good: |gradient (x - x0)| is
// what that costs it. As many as part * sqrt(changed features), equals in order of their index; the last of them is the
// first that costs more than `cost`.
struct FreezeRows {
  Index features = 0, ld = 0;
  const float* x0 = nullptr;
  const float* gradient = nullptr;    // of the margin
  const std::uint8_t* won = nullptr;  // (rows)
  float part = 0.3f, cost = 0.01f, changed = 1e-4f;
  float* x = nullptr;
  float* lo = nullptr;
  float* hi = nullptr;
};

namespace EPSBALL_ISA {

EPSBALL_HD void decide(const TightenRows& a, Index row) {
  const float margin = a.targeted ? -a.loss[row] : a.loss[row], lacking = max(a.confidence - margin, 0.0f);
  const bool adversarial = (a.predicted[row] == a.labels[row]) == a.targeted;
  const bool won = adversarial && lacking == 0.0f && (!a.distance || a.distance[row] <= a.tau[row]);
  const float objective = a.penalty[row] + a.constant[row] * lacking;
  const std::int32_t every = a.steps < 10 ? 1 : a.steps / 10, step = ++a.step[row];
  bool over = !won && step > a.steps;
  if (!won && a.abort_early && step % every == 0) {
    over |= objective > 0.9999f * a.before[row];
    a.before[row] = objective;
  }
  if (won && a.distance) a.tau[row] = a.decrease * min(a.tau[row], a.distance[row]);
  if (over) {
    a.constant[row] = min(a.constant[row] * 2.0f, 1e10f);
    a.step[row] = 0;
    a.done[row] |= ++a.search[row] >= a.searches;
  }
  a.done[row] |= ++a.spent[row] >= a.searches * (a.steps + 1);
  if (won) a.step[row] = 0;
  if (over || won) a.before[row] = __builtin_inff();
  a.won[row] = won;
  a.restart[row] = over || won ? kForget : kGoOn;
  a.push[row] = lacking > 0.0f ? a.constant[row] : 0.0f;
  a.power1[row] = (over || won ? 1.0f : a.power1[row]) * a.beta1;
  a.power2[row] = (over || won ? 1.0f : a.power2[row]) * a.beta2;
}

// What it costs to freeze a feature; infinite where it is frozen.
template <class V>
EPSBALL_HD V cost_of(V x, V x0, V lo, V hi, V gradient) {
  return select(lo < hi, abs(gradient * (x - x0)), splat<V>(__builtin_inff()));
}

// How many features to freeze: `changed` have moved, `cheap` cost no more than they may.
EPSBALL_HD float count_to_freeze(const FreezeRows& a, double changed, double cheap) {
  const float most = a.part * sqrt(static_cast<float>(changed)), whole = to_float(static_cast<std::int32_t>(most));
  return max(min(whole < most ? whole + 1.0f : whole, static_cast<float>(cheap) + 1.0f), 1.0f);
}

}  // namespace EPSBALL_ISA
}  // namespace epsball
