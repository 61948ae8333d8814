// Pointwise's search on one row: which feature goes back to the input next, and what the answer means.
#pragma once

#include "array.h"
#include "lane.h"
#include "philox.h"

namespace epsball {

// All zero at first.
struct PointwiseState {
  std::int32_t place = 0;  // in the order of the features: the one asked about
  std::int32_t cut = 0;    // of its bisection; 0: the question is about the input's own value
  std::int32_t draw = 0;   // orders drawn so far
  std::int32_t pass = 0;   // of this part of the search
  float low = 0.0f, high = 0.0f;
  std::uint8_t refining = 0;  // 0: features go back as a whole; 1: as far as they can
  std::uint8_t improved = 0;  // in this pass
};

struct PointwiseRows {
  Index features = 0, ld = 0;
  const float* x0 = nullptr;
  float* point = nullptr;                     // adversarial
  float* x = nullptr;                         // asked about next: the point, but for one feature
  const std::uint8_t* unasked = nullptr;      // (rows); null: the first round, in which x is the point
  const std::uint8_t* adversarial = nullptr;  // (rows)
  const Index* ids = nullptr;                 // (rows)
  std::uint64_t seed = 0;
  int passes = 0;
  bool refine = false;
  std::int32_t* order = nullptr;    // (rows, features)
  PointwiseState* state = nullptr;  // (rows)
  std::uint8_t* busy = nullptr;     // (rows) has a question
};

namespace EPSBALL_ISA {

// Separates these orders from other uses of one seed; the low 24 bits count them.
inline constexpr std::uint32_t kPointwiseSalt = 5u << 24;

// Fisher and Yates's shuffle.
EPSBALL_HD void pointwise_order(const PointwiseRows& a, Index row) {
  std::int32_t* order = a.order + row * a.features;
  const auto id = static_cast<std::uint64_t>(a.ids[row]);
  const std::uint32_t draw = static_cast<std::uint32_t>(a.state[row].draw++) & 0xffffffu;
  for (Index i = 0; i < a.features; ++i) order[i] = static_cast<std::int32_t>(i);
  std::uint32_t words[4] = {};
  for (Index i = a.features - 1; i > 0; --i) {
    if (i % 4 == 3 || i == a.features - 1) {
      words[0] = static_cast<std::uint32_t>(i / 4);
      words[1] = kPointwiseSalt | draw;
      words[2] = static_cast<std::uint32_t>(id);
      words[3] = static_cast<std::uint32_t>(id >> 32);
      philox(words, a.seed);
    }
    const auto j =
        static_cast<Index>((static_cast<std::uint64_t>(words[i % 4]) * static_cast<std::uint64_t>(i + 1)) >> 32);
    const std::int32_t other = order[j];
    order[j] = order[i];
    order[i] = other;
  }
}

EPSBALL_HD void pointwise_answer(const PointwiseRows& a, Index row) {
  constexpr int kCuts = 10;
  PointwiseState& s = a.state[row];
  const Index at = row * a.ld + a.order[row * a.features + s.place];
  const bool adversarial = a.adversarial[row];
  float &point = a.point[at], &x = a.x[at];
  if (s.cut == 0 && !adversarial && s.refining) {
    s.low = a.x0[at];
    s.high = point;
    s.cut = 1;
  } else if (s.cut == 0) {
    if (adversarial) point = a.x0[at], s.improved = 1;
    ++s.place;
  } else {
    (adversarial ? s.high : s.low) = x;
    if (++s.cut > kCuts) {
      if (s.high != point) point = s.high, s.improved = 1;
      s.cut = 0;
      ++s.place;
    }
  }
  x = point;
}

EPSBALL_HD void pointwise_question(const PointwiseRows& a, Index row) {
  PointwiseState& s = a.state[row];
  for (;;) {
    const std::int32_t* order = a.order + row * a.features;
    while (s.place < a.features && a.point[row * a.ld + order[s.place]] == a.x0[row * a.ld + order[s.place]]) ++s.place;
    if (s.place < a.features) {
      const Index at = row * a.ld + order[s.place];
      a.x[at] = s.cut > 0 ? 0.5f * s.low + 0.5f * s.high : a.x0[at];
      return;
    }
    const bool again = s.improved && s.pass + 1 < a.passes;
    if (!again && (s.refining || !a.refine)) break;
    s.pass = again ? s.pass + 1 : 0;
    s.refining |= !again;
    s.improved = 0;
    s.place = 0;
    pointwise_order(a, row);
  }
  a.busy[row] = 0;
}

EPSBALL_HD void decide(const PointwiseRows& a, Index row) {
  if (!a.unasked) {
    a.busy[row] = 1;
    pointwise_order(a, row);
  } else if (!a.busy[row]) {
    return;
  } else if (a.unasked[row]) {  // out of queries
    a.busy[row] = 0;
    return;
  } else {
    pointwise_answer(a, row);
  }
  pointwise_question(a, row);
}

}  // namespace EPSBALL_ISA
}  // namespace epsball
