// Nearest neighbours by brute force: exact Euclidean distances in double of the points that float cannot rule out, and
// a vote.
#pragma once

#include <vector>

#include "executor.h"
#include "kernels.h"
#include "slab.h"

namespace epsball {

class Knn {
 public:
  // points (count, features); labels (count) in [0, classes); k <= count. By distance: a neighbour's vote weighs 1 over
  // its distance, and points at distance 0, where there are any, have the only votes; otherwise every vote weighs 1.
  Knn(const Kernels& kernels, const double* points, const std::int64_t* labels, Index count, Index features,
      Index classes, Index k, bool by_distance);

  Index features() const { return features_; }
  Index classes() const { return classes_; }
  // y (x.rows). Of points equally far the first is nearer, of classes with equal votes the first wins.
  void predict(const Array& x, std::int64_t* y, Interruption&) const;

 private:
  struct Neighbour {
    double distance;  // squared
    Index point;
  };
  struct Search;

  void pack();
  Index columns(Index block) const;
  double begin(const double* x, float* to) const;
  void approximate(Index rows, const float* x, Index block, float* distances) const;
  double distance(const double* x, Index point) const;
  std::vector<Neighbour> nearest(const Search& search, const double* x) const;
  std::int64_t vote(const std::vector<Neighbour>& nearest, std::vector<double>& votes) const;

  const Kernels& kernels_;
  Index count_, features_, classes_, k_;
  bool by_distance_;
  std::vector<double> points_;  // (count, features)
  std::vector<std::int64_t> labels_;
  std::vector<double> centre_;  // mean of the points
  double largest_norm_ = 0.0;   // the largest norm of a point, from the centre
  Arena memory_;
  float *packed_, *squares_;  // the points from the centre, in blocks packed for a product; their squared norms
};

}  // namespace epsball
