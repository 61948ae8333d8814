// Nearest neighbours by brute force: exact Euclidean distances in double, and a vote.
#pragma once

#include <vector>

#include "array.h"
#include "executor.h"

namespace epsball {

class Knn {
 public:
  static constexpr Index kBlock = 64;  // points side by side, one per lane

  // points (count, features); labels (count) in [0, classes); k <= count. By distance: a neighbour's vote weighs 1 over
  // its distance, and points at distance 0, where there are any, have the only votes; otherwise every vote weighs 1.
  Knn(const double* points, const std::int64_t* labels, Index count, Index features, Index classes, Index k,
      bool by_distance);

  Index features() const { return features_; }
  Index classes() const { return classes_; }
  // y (x.rows). Of points equally far the first is nearer, of classes with equal votes the first wins.
  void predict(const Array& x, std::int64_t* y, Interruption&) const;

 private:
  struct Neighbour {
    double distance;  // squared
    Index point;
  };
  void look_at(Index block, const double* x, std::vector<Neighbour>& nearest) const;
  std::int64_t vote(const std::vector<Neighbour>& nearest, std::vector<double>& votes) const;

  Index count_, features_, classes_, k_;
  bool by_distance_;
  std::vector<double> points_;  // (blocks, features, kBlock)
  std::vector<std::int64_t> labels_;
};

}  // namespace epsball
