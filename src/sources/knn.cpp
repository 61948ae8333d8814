// Nearest neighbours by brute force: exact Euclidean distances in double, and a vote.
#include "sources/knn.h"

#include <algorithm>
#include <cmath>

#include "sources/read_rows.h"

namespace epsball {
namespace {

constexpr Index kRows = 8;  // that look at a block of points while it lies in the cache

Index blocks_of(Index count) { return (count + Knn::kBlock - 1) / Knn::kBlock; }

}  // namespace

Knn::Knn(const double* points, const std::int64_t* labels, Index count, Index features, Index classes, Index k,
         bool by_distance)
    : count_(count),
      features_(features),
      classes_(classes),
      k_(k),
      by_distance_(by_distance),
      points_(static_cast<std::size_t>(blocks_of(count) * features * kBlock)),
      labels_(labels, labels + count) {
  for (Index p = 0; p < count; ++p)
    for (Index f = 0; f < features; ++f)
      points_[static_cast<std::size_t>((p / kBlock * features + f) * kBlock + p % kBlock)] = points[p * features + f];
}

// A distance is one sum over the features, in their order. `nearest` stays sorted; a point as far as the last of k
// comes after it, and so is left out.
void Knn::look_at(Index block, const double* x, std::vector<Neighbour>& nearest) const {
  const double* points = points_.data() + block * features_ * kBlock;
  double distance[kBlock] = {};
  for (Index f = 0; f < features_; ++f)
    for (Index i = 0; i < kBlock; ++i) {
      const double d = x[f] - points[f * kBlock + i];
      distance[i] += d * d;
    }
  const Index first = block * kBlock, rows = std::min(kBlock, count_ - first);
  for (Index i = 0; i < rows; ++i) {
    if (static_cast<Index>(nearest.size()) == k_) {
      if (!(distance[i] < nearest.back().distance)) continue;
      nearest.pop_back();
    }
    const auto after = std::upper_bound(nearest.begin(), nearest.end(), distance[i],
                                        [](double d, const Neighbour& n) { return d < n.distance; });
    nearest.insert(after, {distance[i], first + i});
  }
}

std::int64_t Knn::vote(const std::vector<Neighbour>& nearest, std::vector<double>& votes) const {
  std::fill(votes.begin(), votes.end(), 0.0);
  const bool hit = nearest.front().distance == 0.0;
  for (const Neighbour& n : nearest) {
    double weight = 1.0;
    if (by_distance_) weight = hit ? (n.distance == 0.0 ? 1.0 : 0.0) : 1.0 / std::sqrt(n.distance);
    votes[static_cast<std::size_t>(labels_[static_cast<std::size_t>(n.point)])] += weight;
  }
  return std::max_element(votes.begin(), votes.end()) - votes.begin();
}

void Knn::predict(const Array& x, std::int64_t* y, Interruption& interruption) const {
  Tasks tasks((x.rows + kRows - 1) / kRows);
  const double work = static_cast<double>(x.rows) * static_cast<double>(count_) * static_cast<double>(features_);
  run_workers(threads_worth(work), interruption, [&](int) {
    std::vector<double> queries(static_cast<std::size_t>(kRows * features_));
    std::vector<double> votes(static_cast<std::size_t>(classes_));
    std::vector<std::vector<Neighbour>> nearest(kRows);
    for (Index task; (task = tasks.next()) >= 0;) {
      const Index first = task * kRows, rows = std::min(kRows, x.rows - first);
      read_rows(x, first, rows, queries.data());
      for (auto& n : nearest) n.clear();
      for (Index block = 0; block < blocks_of(count_); ++block) {
        interruption.check();
        for (Index r = 0; r < rows; ++r)
          look_at(block, queries.data() + r * features_, nearest[static_cast<std::size_t>(r)]);
      }
      for (Index r = 0; r < rows; ++r) y[first + r] = vote(nearest[static_cast<std::size_t>(r)], votes);
    }
  });
}

}  // namespace epsball
