// Carlini and Wagner's search for the constant that weighs success against distance, row by row, and the steps that
// minimise the weighted sum: Adam on the box's own coordinates, and EAD's shrinkage.
#pragma once

#include "array.h"
#include "formulas.h"

namespace epsball {

// How a row goes on: with what it has, from x0 without momentum, or from here without momentum.
enum Restart : std::uint8_t { kGoOn = 0, kFromInput = 1, kForget = 2 };

// Every row has its own constant and its own step count, so that one that gives up early begins its next search at
// once.
struct SearchRows {
  const float* loss = nullptr;              // (rows) the margin at the point being left
  const float* distance = nullptr;          // (rows) of the objective: its square counts
  const float* sparsity = nullptr;          // (rows) L1 distance, weighed by beta; null: 0
  const std::int32_t* predicted = nullptr;  // (rows)
  const std::int32_t* labels = nullptr;     // (rows)
  bool targeted = false, abort_early = false;
  float confidence = 0.0f, beta = 0.0f;
  bool only_push = false;  // weigh the margin's gradient at this point, and nothing else
  std::int32_t steps = 0, searches = 0;
  std::int32_t every = 1;              // steps from one look at the progress to the next
  float beta1 = 0.9f, beta2 = 0.999f;  // of Adam

  float* constant = nullptr;       // (rows)
  float* lower = nullptr;          // (rows) largest constant that failed
  float* upper = nullptr;          // (rows) smallest that succeeded
  float* before = nullptr;         // (rows) the objective when it was last looked at
  std::int32_t* step = nullptr;    // (rows) of this search
  std::int32_t* search = nullptr;  // (rows)
  std::uint8_t* found = nullptr;   // (rows) in this search
  // EAD: a search goes on while it finds nearer points, too.
  const std::uint8_t* improved = nullptr;  // (rows) this point is the nearest so far; null: not asked
  std::uint8_t* gained = nullptr;          // (rows) so was one since the last look
  std::uint8_t* restart = nullptr;         // (rows) a Restart: how the next step goes on
  float* push = nullptr;                   // (rows) weight of the margin's gradient
  float* power1 = nullptr;                 // (rows) beta1^step
  float* power2 = nullptr;                 // (rows) beta2^step
  std::uint8_t* done = nullptr;            // (rows) set when the last search is over
};

// x = lo + (hi - lo) (tanh(w) + 1) / 2, w moved by Adam along the gradient of penalty - push * margin; x = w where
// there is no box. The penalty is ||x - x0||^2 or, with tau, the sum of what |x - x0| has above it.
struct BoxAdam {
  Index features = 0, ld = 0;
  const float* x0 = nullptr;
  const float* lo = nullptr;
  const float* hi = nullptr;
  const float* gradient = nullptr;        // of the margin
  const float* push = nullptr;            // (rows)
  const float* power1 = nullptr;          // (rows)
  const float* power2 = nullptr;          // (rows)
  const std::uint8_t* restart = nullptr;  // (rows) a Restart
  const float* tau = nullptr;             // (rows) or null
  float rate = 0.0f, beta1 = 0.9f, beta2 = 0.999f;
  float* x = nullptr;
  float* w = nullptr;
  float* moment1 = nullptr;
  float* moment2 = nullptr;
  float* penalty = nullptr;        // (rows) at the new point; may be null
  std::uint8_t* moving = nullptr;  // (rows) set to 1 where any gradient element is not 0
};

// EAD's step: z <- the shrunk and clipped y - rate * gradient, y <- z + momentum (z - its last), rate and momentum
// following from the row's step.
struct Shrinkage {
  Index features = 0, ld = 0;
  const float* x0 = nullptr;
  const float* lo = nullptr;
  const float* hi = nullptr;
  const float* gradient = nullptr;        // of the margin
  const float* push = nullptr;            // (rows)
  const std::int32_t* step = nullptr;     // (rows) 1 for the first
  const std::uint8_t* restart = nullptr;  // (rows) both go back to x0
  std::int32_t steps = 1;
  float rate = 0.0f, beta = 0.0f;
  float* y = nullptr;
  float* z = nullptr;
  std::uint8_t* moving = nullptr;  // (rows) set to 1 where any gradient element is not 0
};

namespace EPSBALL_ISA {

// Whether a constant has succeeded.
EPSBALL_HD bool bracketed(const SearchRows& a, Index row) { return a.upper[row] < 1e9f; }

// A search has ended: the constant moves towards the boundary between failure and success.
EPSBALL_HD void next_search(const SearchRows& a, Index row) {
  const float c = a.constant[row];
  if (a.found[row])
    a.upper[row] = min(a.upper[row], c);
  else
    a.lower[row] = max(a.lower[row], c);
  a.constant[row] = bracketed(a, row) ? 0.5f * (a.lower[row] + a.upper[row]) : min(c * 10.0f, 1e10f);
  a.done[row] |= ++a.search[row] >= a.searches;
  a.found[row] = 0;
  a.step[row] = 0;
  a.before[row] = __builtin_inff();
  a.power1[row] = a.power2[row] = 1.0f;
}

// Whether the search gives up at its `step`-th step, for lack of progress since the last look.
EPSBALL_HD bool gives_up(const SearchRows& a, Index row, std::int32_t step, float objective) {
  if (!a.abort_early) return false;
  bool look = step % a.every == 0, gained = false;
  if (a.improved) {
    // The first point is x0. Where the first gradient is too small to leave it, so are those of the shorter steps.
    look |= step == 1;
    if (step == 2 && a.distance[row] == 0.0f) return true;
    gained = step > 1 && (a.gained[row] || a.improved[row]);
    a.gained[row] = gained && !look;
  }
  if (!look) return false;
  const bool stalled = objective > 0.9999f * a.before[row];
  a.before[row] = objective;
  return stalled && !gained;
}

// What this point means for the search: whether it is over, and where the next one begins.
EPSBALL_HD void judge_search(const SearchRows& a, Index row, float lacking) {
  const bool adversarial = (a.predicted[row] == a.labels[row]) == a.targeted;
  a.found[row] |= adversarial && lacking == 0.0f;
  const float extra = a.sparsity ? a.beta * a.sparsity[row] : 0.0f;
  const float objective = a.distance[row] * a.distance[row] + extra + a.constant[row] * lacking;
  const std::int32_t step = ++a.step[row];
  const bool over = gives_up(a, row, step, objective) || step > a.steps;
  a.restart[row] = kGoOn;
  if (over) {
    next_search(a, row);
    a.restart[row] = bracketed(a, row) ? kFromInput : kForget;
    a.step[row] = bracketed(a, row) ? 0 : 1;  // x comes first, or this point is the first already
  }
  if (a.restart[row] == kFromInput) return;
  a.power1[row] *= a.beta1;
  a.power2[row] *= a.beta2;
}

// Where no constant has succeeded yet the next one takes over the point that the last has reached, as steps from x that
// were too few would be too few again.
EPSBALL_HD void decide(const SearchRows& a, Index row) {
  const float margin = a.targeted ? -a.loss[row] : a.loss[row], lacking = max(a.confidence - margin, 0.0f);
  if (!a.only_push) judge_search(a, row, lacking);
  a.push[row] = lacking > 0.0f ? a.constant[row] : 0.0f;
}

// (x - lo) / (hi - lo) on (-1, 1); 0 where the feature is fixed or has no box.
template <class V>
EPSBALL_HD V box_place(V x, V lo, V hi) {
  const V half = (hi - lo) * 0.5f;
  const auto boxed = half > 0.0f;
  return select(boxed, clip((x - lo) / select(boxed, half, splat<V>(1.0f)) - 1.0f, splat<V>(-1.0f), splat<V>(1.0f)),
                V{});
}

template <class V>
struct AdamState {
  V x, w, moment1, moment2;
};

// A feature's part of the penalty, and its derivative.
template <class V>
EPSBALL_HD V penalty_of(const BoxAdam& a, V d, float tau) {
  return a.tau ? max(abs(d) - tau, V{}) : d * d;
}
template <class V>
EPSBALL_HD V pull(const BoxAdam& a, V d, float tau) {
  return a.tau ? select(abs(d) > tau, sign(d), V{}) : 2.0f * d;
}

// The scales are one row's: push, tau, rate / (1 - beta1^t), 1 / (1 - beta2^t).
template <class V>
EPSBALL_HD AdamState<V> box_adam(const BoxAdam& a, AdamState<V> s, V x0, V lo, V hi, V gradient, float push, float tau,
                                 float rate, float correction2) {
  const auto open = (hi - lo) == __builtin_inff();
  const V place = box_place(s.x, lo, hi), half = (hi - lo) * 0.5f;
  const V slope = select(open, splat<V>(1.0f), half * (splat<V>(1.0f) - place * place));
  const V g = (pull(a, s.x - x0, tau) - gradient * push) * slope;
  s.moment1 = s.moment1 * a.beta1 + g * (1.0f - a.beta1);
  s.moment2 = s.moment2 * a.beta2 + g * g * (1.0f - a.beta2);
  s.w = s.w - s.moment1 * rate / (sqrt(s.moment2 * correction2) + 1e-8f);
  s.x = clip(select(open, s.w, lo + half * (tanh(s.w) + 1.0f)), lo, hi);
  return s;
}

template <class V>
EPSBALL_HD AdamState<V> box_restart(V x0, V lo, V hi) {
  AdamState<V> s;
  const auto open = (hi - lo) == __builtin_inff();
  const V u = box_place(x0, lo, hi) * (1.0f - 1e-6f), half = (hi - lo) * 0.5f;
  s.w = select(open, x0, (log(u + 1.0f) - log(splat<V>(1.0f) - u)) * 0.5f);
  s.x = clip(select(open, x0, lo + half * (tanh(s.w) + 1.0f)), lo, hi);
  s.moment1 = s.moment2 = V{};
  return s;
}

// Of the t-th step, t from 1 on: the rate falls as a square root to 0.
EPSBALL_HD float shrink_rate(const Shrinkage& a, std::int32_t t) {
  const float left = 1.0f - to_float(t - 1) / to_float(a.steps);
  return a.rate * sqrt(max(left, 0.0f));
}
EPSBALL_HD float shrink_momentum(std::int32_t t) { return to_float(t) / to_float(t + 3); }

// The next z of Shrinkage from y, `rate` being this step's.
template <class V>
EPSBALL_HD V shrunk(V y, V x0, V lo, V hi, V gradient, float push, float rate, float beta) {
  const V moved = y - (2.0f * (y - x0) - gradient * push) * rate, d = moved - x0;
  const V kept = select(d > beta, min(moved - beta, hi), select(d < -beta, max(moved + beta, lo), x0));
  return clip(kept, lo, hi);
}

}  // namespace EPSBALL_ISA
}  // namespace epsball
