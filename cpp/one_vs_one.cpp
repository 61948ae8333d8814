// Votes of pairwise classifiers with their confidences, one row per lane.
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

// Calls f(pair, whether i is the first of the two) for every pair of class i, in order.
template <class F>
EPSBALL_INLINE void for_pairs(Index i, Index classes, F f) {
  Index pair = i - 1;  // (0, i), then (1, i), ...
  for (Index j = 0; j < i; pair += classes - 2 - j, ++j) f(pair, false);
  pair += 1;  // from (i, i) on
  for (Index j = i + 1; j < classes; ++j) f(pair++, true);
}

// Rows row .. row + n - 1: their pairs, and what class i gets out of them.
struct Pairs {
  const OneVsOneRows& a;
  Index row, n;

  EPSBALL_INLINE Vec decision(Index pair) const { return gather(a.x + row * a.ldx + pair, a.ldx, n); }

  EPSBALL_INLINE void score(Index i, Vec& votes, Vec& sum) const {
    votes = Vec{}, sum = Vec{};
    for_pairs(i, a.classes, [&](Index pair, bool first) {
      const Vec d = decision(pair), one = splat<Vec>(1.0f);
      votes = votes + (first ? select(d < 0.0f, Vec{}, one) : select(d < 0.0f, one, Vec{}));  // 0 votes for the first
      sum = first ? sum + d : sum - d;
    });
  }
};

void one_vs_one_forward(Stream, const OneVsOneRows& a) {
  for_lanes(a.rows, [&](Index row, Index n) {
    const Pairs pairs{a, row, n};
    for (Index i = 0; i < a.classes; ++i) {
      Vec votes, sum;
      pairs.score(i, votes, sum);
      scatter(a.y + row * a.ldy + i, a.ldy, votes + sum / ((abs(sum) + 1.0f) * 3.0f), n);
    }
  });
}

void one_vs_one_backward(Stream, const OneVsOneRows& a) {
  for_lanes(a.rows, [&](Index row, Index n) {
    const Pairs pairs{a, row, n};
    for (Index i = 0; i < a.classes; ++i) {
      Vec votes, sum;
      pairs.score(i, votes, sum);
      const Vec share = splat<Vec>(1.0f) / (abs(sum) + 1.0f);
      const Vec d = gather(a.dy + row * a.lddy + i, a.lddy, n) * share * share * 0.333333333f;
      for_pairs(i, a.classes, [&](Index pair, bool first) {  // the first of the two comes first, and writes
        float* dx = a.dx + row * a.lddx + pair;
        scatter(dx, a.lddx, first ? d : gather(dx, a.lddx, n) - d, n);
      });
    }
  });
}

}  // namespace

void add_one_vs_one(Kernels& k) {
  k.one_vs_one_forward = one_vs_one_forward;
  k.one_vs_one_backward = one_vs_one_backward;
}

}  // namespace epsball::EPSBALL_ISA
