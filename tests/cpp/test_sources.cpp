// Label sources: sizes around a block, every dtype, and what plain loops say.
#include <algorithm>
#include <vector>

#include "check.h"
#include "dispatch.h"
#include "sources/knn.h"
#include "sources/trees.h"

using namespace epsball;
using namespace epsball::test;

namespace {

// Values of a small grid: many distances tie, many values equal a threshold.
double value(Index i) { return static_cast<double>((i * 7 + i / 5) % 4); }

template <class T>
std::vector<T> rows_of(Index count) {
  std::vector<T> x(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) x[static_cast<std::size_t>(i)] = static_cast<T>(value(3 * i + 1));
  return x;
}

std::int64_t nearest_label(const std::vector<double>& points, const std::vector<std::int64_t>& labels, Index features,
                           const double* x) {
  std::size_t best = 0;
  double least = 1e300;
  for (std::size_t p = 0; p < labels.size(); ++p) {
    double distance = 0;
    for (Index f = 0; f < features; ++f) {
      const double d = x[f] - points[p * static_cast<std::size_t>(features) + static_cast<std::size_t>(f)];
      distance += d * d;
    }
    if (distance < least) least = distance, best = p;
  }
  return labels[best];
}

template <class T>
void test_the_nearest_point_gives_its_label(DType dtype) {
  Interruption never({});
  for (const Index count : {1, 63, 64, 65, 130})
    for (const Index features : {1, 3})
      for (const Index rows : {1, 8, 17}) {
        std::vector<double> points;
        for (Index i = 0; i < count * features; ++i) points.push_back(value(i));
        std::vector<std::int64_t> labels;
        for (Index i = 0; i < count; ++i) labels.push_back(i % 5);
        const Knn knn(chosen_table(), points.data(), labels.data(), count, features, 5, 1, false);
        auto x = rows_of<T>(rows * features);
        const std::vector<double> as_double(x.begin(), x.end());
        std::vector<std::int64_t> y(static_cast<std::size_t>(rows), -1);
        knn.predict({x.data(), dtype, rows, features}, y.data(), never);
        bool same = true;
        for (Index r = 0; r < rows; ++r)
          same &= y[static_cast<std::size_t>(r)] ==
                  nearest_label(points, labels, features, as_double.data() + r * features);
        CHECK(same);
      }
}

// Two stumps of one score each: 1 where both features are above their thresholds.
template <class T>
void test_rows_go_left_where_they_are_at_most_the_threshold(DType dtype) {
  Interruption never({});
  Trees trees;
  trees.features = 2;
  trees.nodes = {{0, 1, 2, 1.0}, {}, {}, {1, 4, 5, 2.0}, {}, {}};
  trees.values = {0, 0, 1, 0, 0, 1};
  trees.roots = {0, 3};
  trees.column = {0, 0};
  trees.start = {-1.5};
  trees.decision = TreeDecision::positive;
  for (const Index rows : {1, 63, 64, 65, 200}) {
    auto x = rows_of<T>(rows * 2);
    std::vector<std::int64_t> y(static_cast<std::size_t>(rows), -1);
    trees.predict({x.data(), dtype, rows, 2}, y.data(), never);
    bool same = true;
    for (std::size_t r = 0; r < y.size(); ++r)
      same &= y[r] == (static_cast<double>(x[2 * r]) > 1.0 && static_cast<double>(x[2 * r + 1]) > 2.0 ? 1 : 0);
    CHECK(same);
  }
}

}  // namespace

int main() {
  test_the_nearest_point_gives_its_label<float>(DType::float32);
  test_the_nearest_point_gives_its_label<double>(DType::float64);
  test_rows_go_left_where_they_are_at_most_the_threshold<float>(DType::float32);
  test_rows_go_left_where_they_are_at_most_the_threshold<double>(DType::float64);
  return finish();
}
