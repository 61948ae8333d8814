// Decision trees and sums of them: exact predictions, without a gradient.
#pragma once

#include <vector>

#include "array.h"
#include "executor.h"

namespace epsball {

// A row goes left where x[feature] <= threshold, compared as doubles. Children stand after their parent.
struct TreeNode {
  std::int32_t feature = -1;         // -1: a leaf
  std::int32_t left = 0, right = 0;  // of all trees' nodes
  double threshold = 0;
};

// How scores become a class. Of one column: 1 where the score is positive, or not negative.
enum class TreeDecision : int { largest, positive, not_negative };

struct Trees {
  Index features = 0, columns = 1;
  Index width = 1;  // values of a leaf: `columns`, or 1, which goes to the column of its tree
  std::vector<TreeNode> nodes;
  std::vector<double> values;                     // (nodes, width)
  std::vector<std::int32_t> roots;                // (trees)
  std::vector<std::int32_t> column;               // (trees): where its values begin
  std::vector<double> start;                      // (columns)
  double scale = 1, divisor = 1;                  // score = (start + scale * value + scale * value + ...) / divisor
  bool rounds_inputs = false;                     // to float32, before they are compared
  TreeDecision decision = TreeDecision::largest;  // the first of equals

  // y (x.rows)
  void predict(const Array& x, std::int64_t* y, Interruption&) const;

 private:
  void score(Index rows, const double* x, double* scores) const;
};

}  // namespace epsball
