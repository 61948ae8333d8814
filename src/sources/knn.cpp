// Nearest neighbours by brute force: exact Euclidean distances in double of the points that float cannot rule out, and
// a vote.
//
// With x and p from the centre of the points, ||x - p||^2 - ||x||^2 = ||p||^2 - 2 x . p is a product of matrices. In
// float it is wrong by at most some e, so that whoever is among the k nearest has it within 2 e of the k-th least.
#include "sources/knn.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "rounding.h"
#include "sources/read_rows.h"

namespace epsball {
namespace {

constexpr Index kRows = 64;            // that look at a block of points while it lies in the cache
constexpr Index kColumns = 256;        // points of a block; whole panels of every table
constexpr double kMostSquared = 1e37;  // below it no sum of products overflows

Index blocks_of(Index count, Index each) { return (count + each - 1) / each; }

double norm_of(const double* x, const double* centre, Index features) {
  double total = 0.0;
  for (Index f = 0; f < features; ++f) total += (x[f] - centre[f]) * (x[f] - centre[f]);
  return std::sqrt(total);
}

// By how much ||p||^2 - 2 x . p in float and ||x - p||^2 in double may be wrong, together, where ||x|| + ||p|| <=
// norm: n roundings of terms whose magnitudes add up to norm^2 at most, and what underflows. Infinite where floats
// overflow.
double error_of(double norm, Index features) {
  const double n = static_cast<double>(features) + 16.0, unit = 0x1p-24;
  if (!(norm * norm < kMostSquared) || n * unit > 0.5) return std::numeric_limits<double>::infinity();
  return n * unit / (1.0 - n * unit) * norm * norm + 4.0 * n * static_cast<double>(std::numeric_limits<float>::min());
}

}  // namespace

// The points that may be among the k nearest of one row.
struct Knn::Search {
  struct Candidate {
    float distance;
    Index point;
  };
  double error = 0.0;
  float limit = 0.0f;
  std::vector<float> least;  // the k least distances so far, in order
  std::vector<Candidate> candidates;

  void begin(double of_distances) {
    error = of_distances;
    limit = std::numeric_limits<float>::infinity();
    least.clear();
    candidates.clear();
  }

  void look_at(const float* distances, Index count, Index first, std::size_t k) {
    for (Index i = 0; i < count; ++i) {
      const float d = distances[i];
      if (d > limit) continue;
      candidates.push_back({d, first + i});
      if (least.size() == k) {
        if (d >= least.back()) continue;
        least.pop_back();
      }
      least.insert(std::upper_bound(least.begin(), least.end(), d), d);
      if (least.size() == k) limit = float_above(static_cast<double>(least.back()) + 2.0 * error);
    }
  }
};

Knn::Knn(const Kernels& kernels, const double* points, const std::int64_t* labels, Index count, Index features,
         Index classes, Index k, bool by_distance)
    : kernels_(kernels),
      count_(count),
      features_(features),
      classes_(classes),
      k_(k),
      by_distance_(by_distance),
      points_(points, points + count * features),
      labels_(labels, labels + count),
      centre_(static_cast<std::size_t>(features)),
      memory_(kernels),
      packed_(memory_.take<float>(blocks_of(count, kColumns) * kColumns * features)),
      squares_(memory_.take<float>(blocks_of(count, kColumns) * kColumns)) {
  for (Index p = 0; p < count; ++p)
    for (std::size_t f = 0; f < centre_.size(); ++f)
      centre_[f] += points[p * features + static_cast<Index>(f)] / static_cast<double>(count);
  for (Index p = 0; p < count; ++p)
    largest_norm_ = std::max(largest_norm_, norm_of(points + p * features, centre_.data(), features));
  pack();
}

// Points too far out for floats are left as zeros: no distance is then good for anything.
void Knn::pack() {
  const bool usable = std::isfinite(error_of(largest_norm_, features_));
  std::vector<float> rows(static_cast<std::size_t>(kColumns * features_));
  for (Index block = 0; block < blocks_of(count_, kColumns); ++block) {
    for (Index i = 0; usable && i < columns(block); ++i) {
      const double* point = points_.data() + (block * kColumns + i) * features_;
      for (Index f = 0; f < features_; ++f)
        rows[static_cast<std::size_t>(i * features_ + f)] =
            static_cast<float>(point[f] - centre_[static_cast<std::size_t>(f)]);
      const double norm = norm_of(point, centre_.data(), features_);
      squares_[block * kColumns + i] = static_cast<float>(norm * norm);
    }
    if (!usable) std::fill_n(squares_ + block * kColumns, kColumns, 0.0f);
    const Index n = columns(block);
    kernels_.pack(nullptr,
                  {n, features_, 1, rows.data(), nullptr, 0, features_, 0, n, packed_ + block * kColumns * features_});
  }
}

Index Knn::columns(Index block) const { return std::min(kColumns, count_ - block * kColumns); }

// Writes -2 x, from the centre, as floats, and returns the error of the row's distances.
double Knn::begin(const double* x, float* to) const {
  const double error = error_of(norm_of(x, centre_.data(), features_) + largest_norm_, features_);
  for (Index f = 0; f < features_; ++f)
    to[f] = std::isfinite(error) ? static_cast<float>(-2.0 * (x[f] - centre_[static_cast<std::size_t>(f)])) : 0.0f;
  return error;
}

// distances (rows, kColumns): ||p||^2 - 2 x . p for a block of points.
void Knn::approximate(Index rows, const float* x, Index block, float* distances) const {
  const float* packed = packed_ + block * kColumns * features_;
  Gemm g{rows, columns(block), features_, x, padded(features_), 1, packed, 0, columns(block), distances, kColumns, {}};
  g.epilogue.bias = squares_ + block * kColumns;
  kernels_.gemm(nullptr, g);
}

// One sum over the features, in their order.
double Knn::distance(const double* x, Index point) const {
  const double* p = points_.data() + point * features_;
  double total = 0.0;
  for (Index f = 0; f < features_; ++f) total += (x[f] - p[f]) * (x[f] - p[f]);
  return total;
}

// In order; a point as far as the last of k comes after it, and so is left out.
std::vector<Knn::Neighbour> Knn::nearest(const Search& search, const double* x) const {
  std::vector<Neighbour> found;
  for (const Search::Candidate& c : search.candidates) {
    if (c.distance > search.limit) continue;
    const double d = distance(x, c.point);
    if (static_cast<Index>(found.size()) == k_) {
      if (!(d < found.back().distance)) continue;
      found.pop_back();
    }
    const auto after = std::upper_bound(found.begin(), found.end(), d,
                                        [](double value, const Neighbour& n) { return value < n.distance; });
    found.insert(after, {d, c.point});
  }
  return found;
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
  Tasks tasks(blocks_of(x.rows, kRows));
  const double work = static_cast<double>(x.rows) * static_cast<double>(count_) * static_cast<double>(features_);
  run_workers(threads_worth(work), interruption, [&](int) {
    Arena arena(kernels_);
    auto* queries = arena.take<double>(kRows * features_);
    const Rows floats = arena.take_rows(kRows, features_);
    auto* distances = arena.take<float>(kRows * kColumns);
    std::vector<Search> searches(static_cast<std::size_t>(std::min(kRows, x.rows)));
    std::vector<double> votes(static_cast<std::size_t>(classes_));
    for (Index task; (task = tasks.next()) >= 0;) {
      const Index first = task * kRows, rows = std::min(kRows, x.rows - first);
      const auto for_rows = [&](auto f) {
        for (Index r = 0; r < rows; ++r) f(r, searches[static_cast<std::size_t>(r)], queries + r * features_);
      };
      read_rows(x, first, rows, queries);
      for_rows([&](Index r, Search& s, const double* query) { s.begin(begin(query, floats.data + r * floats.ld)); });
      for (Index block = 0; block < blocks_of(count_, kColumns); ++block) {
        interruption.check();
        approximate(rows, floats.data, block, distances);
        for_rows([&](Index r, Search& s, const double*) {
          s.look_at(distances + r * kColumns, columns(block), block * kColumns, static_cast<std::size_t>(k_));
        });
      }
      for_rows([&](Index r, Search& s, const double* query) { y[first + r] = vote(nearest(s, query), votes); });
    }
    arena.check();
  });
}

}  // namespace epsball
