// Keeps each row's best point: misclassified first, then the highest loss or the smallest distance; iterate 0 counts.
#pragma once

#include "array.h"
#include "lane.h"

namespace epsball {

// `row` counts the rows still in the slab, `slot` where they stood when it was loaded.
struct TrackBest {
  const float* loss = nullptr;              // (rows) at the current iterate
  const std::int32_t* predicted = nullptr;  // (rows)
  const std::int32_t* labels = nullptr;     // (rows) that decide success
  const std::int32_t* slot = nullptr;       // (rows)
  const std::uint8_t* moving = nullptr;     // (rows) had a gradient that is not zero
  bool descend = false;                     // the attack lowers the loss
  bool targeted = false;                    // success means predicted as the label
  bool fresh = false;                       // take this iterate, whatever came before
  bool stepped = false;                     // a gradient has been taken
  std::int64_t evaluations = 1;             // what this iterate cost in forward passes
  const float* distance = nullptr;          // (rows) minimum norm: from x0; only what succeeds can be best
  bool until_zero = false;                  // minimum norm: a row is done when nothing can be nearer
  float confidence = 0.0f;                  // of the margin loss that success also needs

  float* best_loss = nullptr;        // (slots)
  float* best_distance = nullptr;    // (slots) minimum norm: of the best point
  std::uint8_t* success = nullptr;   // (slots)
  std::int64_t* queries = nullptr;   // (slots)
  std::uint8_t* still = nullptr;     // (slots) every gradient so far was zero; may be null
  std::uint8_t* broken = nullptr;    // (slots) a loss was not finite
  std::uint8_t* improved = nullptr;  // (rows) this iterate is the best so far
  std::uint8_t* done = nullptr;      // (rows) solved
  std::uint8_t* lost = nullptr;      // (rows) this iterate does not succeed; may be null
  float* trace = nullptr;            // (slots) with stride trace_ld, or null
  Index trace_ld = 0;
};

namespace EPSBALL_ISA {

EPSBALL_HD void track_best_row(const TrackBest& t, Index row) {
  const std::int32_t slot = t.slot[row];
  const float loss = t.loss[row], best = t.best_loss[slot];
  const bool confident = !(t.confidence > 0.0f) || (t.targeted ? -loss : loss) >= t.confidence;
  const std::uint8_t success = confident && (t.predicted[row] == t.labels[row]) == t.targeted;
  const bool first = t.fresh || success > t.success[slot];
  bool better;
  if (t.distance) {
    better = success && (first || t.distance[row] < t.best_distance[slot]);
    if (better) t.best_distance[slot] = t.distance[row];
  } else {
    const bool higher = t.descend ? loss < best : loss > best;
    better = first || (success == t.success[slot] && higher);
  }
  if (better || t.fresh) {
    t.best_loss[slot] = loss;
    t.success[slot] = success;
  }
  t.improved[row] = better;
  t.done[row] = t.success[slot] && (!t.until_zero || t.best_distance[slot] == 0.0f);
  if (t.lost) t.lost[row] = !success;
  if (t.still) t.still[slot] = t.stepped && !t.moving[row];
  t.broken[slot] |= !(loss - loss == 0.0f);
  t.queries[slot] += t.evaluations;
  if (t.trace) t.trace[slot * t.trace_ld] = loss;
}

}  // namespace EPSBALL_ISA
}  // namespace epsball
