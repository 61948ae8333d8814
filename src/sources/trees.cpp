// Decision trees and sums of them: exact predictions, without a gradient.
#include "sources/trees.h"

#include <algorithm>

#include "sources/read_rows.h"

namespace epsball {
namespace {

constexpr Index kBlock = 64;  // rows that go through a tree while it lies in the cache

std::int64_t decide(TreeDecision decision, const double* score, Index columns) {
  if (decision == TreeDecision::positive) return score[0] > 0;
  if (decision == TreeDecision::not_negative) return score[0] >= 0;
  return std::max_element(score, score + columns) - score;
}

}  // namespace

// Trees are added one after another, as the estimator adds them: every sum of a row has one order.
void Trees::score(Index rows, const double* x, double* scores) const {
  for (Index r = 0; r < rows; ++r) std::copy(start.begin(), start.end(), scores + r * columns);
  for (std::size_t t = 0; t < roots.size(); ++t)
    for (Index r = 0; r < rows; ++r) {
      std::int32_t at = roots[t];
      for (const TreeNode* n; (n = &nodes[static_cast<std::size_t>(at)])->feature >= 0;)
        at = x[r * features + n->feature] <= n->threshold ? n->left : n->right;
      const double* leaf = values.data() + at * width;
      double* to = scores + r * columns + column[t];
      for (Index j = 0; j < width; ++j) to[j] += scale * leaf[j];
    }
  for (Index i = 0; i < rows * columns; ++i) scores[i] /= divisor;
}

void Trees::predict(const Array& x, std::int64_t* y, Interruption& interruption) const {
  Tasks tasks((x.rows + kBlock - 1) / kBlock);
  constexpr double kLevels = 100.0;  // operations of a row in a tree
  const double work = kLevels * static_cast<double>(x.rows) * static_cast<double>(roots.size());
  run_workers(threads_worth(work), interruption, [&](int) {
    std::vector<double> values_in(static_cast<std::size_t>(kBlock * features));
    std::vector<double> scores(static_cast<std::size_t>(kBlock * columns));
    for (Index task; (task = tasks.next()) >= 0;) {
      interruption.check();
      const Index first = task * kBlock, rows = std::min(kBlock, x.rows - first);
      read_rows(x, first, rows, values_in.data());
      if (rounds_inputs)
        for (double& v : values_in) v = static_cast<double>(static_cast<float>(v));
      score(rows, values_in.data(), scores.data());
      for (Index r = 0; r < rows; ++r) y[first + r] = decide(decision, scores.data() + r * columns, columns);
    }
  });
}

}  // namespace epsball
