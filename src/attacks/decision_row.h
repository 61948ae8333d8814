// What attacks that learn nothing but labels decide per row: who is asked, what the answers mean, where the next point
// lies.
#pragma once

#include "array.h"
#include "lane.h"

namespace epsball {

// Who is asked about a point: rows that wait for an answer and have queries left. What is asked is counted.
struct AskRows {
  const std::uint8_t* waiting = nullptr;  // (rows), null: every row
  const std::int32_t* slot = nullptr;     // (rows)
  std::int64_t limit = 0;                 // queries per row
  std::int64_t* queries = nullptr;        // (slots)
  std::uint8_t* unasked = nullptr;        // (rows)
};

// The answers, `rows` of which came: point i is the question of row `number[i] % period`.
struct AnswerRows {
  Index period = 1;
  const std::int32_t* number = nullptr;     // null: i itself
  const std::int32_t* predicted = nullptr;  // of what was sent
  const float* loss = nullptr;              // of what was sent: not finite where a logit is not
  const std::int32_t* labels = nullptr;     // (period)
  const std::int32_t* slot = nullptr;       // (period)
  const std::uint8_t* unasked = nullptr;    // of all points
  bool targeted = false;
  std::uint8_t* adversarial = nullptr;  // of all points
  std::uint8_t* broken = nullptr;       // (slots)
};

// A row's first adversarial point.
struct BeginRows {
  const std::uint8_t* adversarial = nullptr;  // (rows)
  std::uint8_t* waiting = nullptr;            // (rows) for a point
};

// The segment from x0 (0) to an adversarial point (1) is halved.
struct CutRows {
  const std::uint8_t* unasked = nullptr;      // (rows); null: the first cut
  const std::uint8_t* adversarial = nullptr;  // (rows) at the middle
  const float* distance = nullptr;            // (rows) of the adversarial point from x0
  float* low = nullptr;                       // (rows)
  float* high = nullptr;                      // (rows)
  float* middle = nullptr;                    // (rows)
  float* rest = nullptr;                      // (rows) 1 - middle
  float* radius = nullptr;                    // (rows) of the ball that cuts there
};

// What a row has found becomes its result if it is the nearest so far; rows leave that have nothing, or no queries.
struct NearestRows {
  const std::uint8_t* waiting = nullptr;  // (rows) without an adversarial point
  const std::int32_t* slot = nullptr;     // (rows)
  const float* distance = nullptr;        // (rows)
  const std::int64_t* queries = nullptr;  // (slots)
  std::int64_t limit = 0;
  float* best_distance = nullptr;    // (slots)
  std::uint8_t* success = nullptr;   // (slots)
  std::uint8_t* improved = nullptr;  // (rows)
  std::uint8_t* done = nullptr;      // (rows)
  float* trace = nullptr;            // (slots) with stride trace_ld: the smallest distance so far; or null
  Index trace_ld = 0;
};

// ---- HopSkipJump ----

// How a sample counts in a row's direction, +1 or -1, 0 where it was not asked; and how far samples lie from the point.
struct SampleRows {
  const std::uint8_t* unasked = nullptr;      // (rows)
  const std::uint8_t* adversarial = nullptr;  // (rows)
  float* sign = nullptr;                      // (rows)
  float* asked = nullptr;                     // (rows) 1 or 0
  float* sum = nullptr;                       // (rows) of the signs
  float* count = nullptr;                     // (rows)
};

// What the mean sample counts in the direction: it takes the signs' mean away, unless all of them are alike.
struct BaselineRows {
  const float* sum = nullptr;
  const float* count = nullptr;
  float* weight = nullptr;
};

// A leap's length, halved until the leap lands on an adversarial point.
struct LeapRows {
  const std::uint8_t* unasked = nullptr;      // (rows); null: the first leap
  const std::uint8_t* adversarial = nullptr;  // (rows)
  const float* distance = nullptr;            // (rows)
  float times = 1.0f;                         // the first leap's length in distances
  float* size = nullptr;                      // (rows)
  std::uint8_t* waiting = nullptr;            // (rows)
};

// ---- Boundary ----

// Where a walk goes: first around x0 at a row's distance, then towards x0. `around` null: the first.
struct WalkRows {
  const float* distance = nullptr;    // (rows) of the point
  const float* around = nullptr;      // (rows) of the point walked to around x0
  const float* orthogonal = nullptr;  // (rows) both in distances
  const float* towards = nullptr;
  float* stay = nullptr;  // (rows) weights: first of what the point is away from x0; then of the point walked to
  float* move = nullptr;  // (rows) first the sideways length; then of x0
};

// After 30 questions of a kind a row's two steps grow or shrink with how often the answer was "adversarial".
struct AdaptRows {
  const std::uint8_t* unasked = nullptr;      // (rows)
  const std::uint8_t* adversarial = nullptr;  // (rows)
  bool sideways = false;                      // asked about the point around x0: both steps follow
  const float* distance = nullptr;            // (rows) of the point left
  const float* reached = nullptr;             // (rows) of the point asked about
  float* orthogonal = nullptr;                // (rows)
  float* towards = nullptr;                   // (rows)
  std::int32_t* asked = nullptr;              // (rows)
  std::int32_t* passed = nullptr;             // (rows)
  std::uint8_t* improved = nullptr;           // (rows) adversarial, and nearer
};

namespace EPSBALL_ISA {

EPSBALL_HD void decide(const AskRows& a, Index row) {
  const std::int32_t slot = a.slot[row];
  const bool asks = (!a.waiting || a.waiting[row]) && a.queries[slot] < a.limit;
  a.unasked[row] = !asks;
  a.queries[slot] += asks;
}

EPSBALL_HD void decide(const AnswerRows& a, Index i) {
  const Index point = a.number ? a.number[i] : i, row = point % a.period;
  const bool asked = !a.unasked[point];
  a.adversarial[point] = asked && (a.predicted[i] == a.labels[row]) == a.targeted;
  a.broken[a.slot[row]] |= asked && !(a.loss[i] - a.loss[i] == 0.0f);
}

EPSBALL_HD void decide(const BeginRows& a, Index row) { a.waiting[row] &= !a.adversarial[row]; }

EPSBALL_HD void decide(const CutRows& a, Index row) {
  if (!a.unasked) {
    a.low[row] = 0.0f;
    a.high[row] = 1.0f;
  } else if (!a.unasked[row]) {
    (a.adversarial[row] ? a.high : a.low)[row] = a.middle[row];
  }
  a.middle[row] = 0.5f * (a.low[row] + a.high[row]);
  a.rest[row] = 1.0f - a.middle[row];
  a.radius[row] = a.middle[row] * a.distance[row];
}

EPSBALL_HD void decide(const NearestRows& a, Index row) {
  const std::int32_t slot = a.slot[row];
  a.improved[row] = !a.waiting[row] && (!a.success[slot] || a.distance[row] < a.best_distance[slot]);
  if (a.improved[row]) {
    a.best_distance[slot] = a.distance[row];
    a.success[slot] = 1;
  }
  a.done[row] = a.waiting[row] || a.queries[slot] >= a.limit || a.best_distance[slot] == 0.0f;
  if (a.trace && a.success[slot]) a.trace[slot * a.trace_ld] = a.best_distance[slot];
}

EPSBALL_HD void decide(const SampleRows& a, Index row) {
  a.asked[row] = a.unasked[row] ? 0.0f : 1.0f;
  a.sign[row] = a.adversarial[row] ? a.asked[row] : -a.asked[row];
  a.sum[row] += a.sign[row];
  a.count[row] += a.asked[row];
}

EPSBALL_HD void decide(const BaselineRows& a, Index row) {
  const float sum = a.sum[row], count = a.count[row];
  const bool alike = sum == count || sum == -count;
  a.weight[row] = alike ? 0.0f : -sum / count;
}

EPSBALL_HD void decide(const LeapRows& a, Index row) {
  if (!a.unasked) {
    a.size[row] = a.times * a.distance[row];
    a.waiting[row] = 1;
  } else if (!a.unasked[row]) {
    a.waiting[row] = !a.adversarial[row];
    a.size[row] *= 0.5f;
  }
}

EPSBALL_HD void decide(const WalkRows& a, Index row) {
  const float distance = a.distance[row], orthogonal = a.orthogonal[row];
  if (!a.around) {
    a.stay[row] = 1.0f / sqrt(1.0f + orthogonal * orthogonal);
    a.move[row] = a.stay[row] * orthogonal * distance;
    return;
  }
  const float around = a.around[row], length = max(a.towards[row] * distance + (around - distance), 0.0f);
  a.move[row] = around > 0.0f ? min(length / around, 1.0f) : 0.0f;
  a.stay[row] = 1.0f - a.move[row];
}

EPSBALL_HD void decide(const AdaptRows& a, Index row) {
  if (a.improved) a.improved[row] = a.adversarial[row] && a.reached[row] < a.distance[row];
  if (a.unasked[row]) return;
  a.passed[row] += a.adversarial[row];
  if (++a.asked[row] < 30) return;
  const std::int32_t passed = a.passed[row];
  const std::int32_t often = a.sideways ? 15 : 7, rarely = a.sideways ? 6 : 3;
  const float change = passed > often ? 1.5f : passed < rarely ? 1.0f / 1.5f : 1.0f;
  if (a.sideways) a.orthogonal[row] = min(a.orthogonal[row] * change, 1e3f);
  a.towards[row] = min(a.towards[row] * change, 1.0f);
  a.asked[row] = a.passed[row] = 0;
}

}  // namespace EPSBALL_ISA
}  // namespace epsball
