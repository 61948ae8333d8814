// Projections of the emulated GPU: feasible in double however it is summed, the CPU's bits where no order of summation
// enters and near them elsewhere, idempotent, and the same for a row alone as among others.
#include "launch.cuh"

#include <algorithm>

#include "check.h"
#include "cpu.h"
#include "device_array.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr Index kRows = 3;
constexpr Norm kNorms[] = {Norm::linf, Norm::l2, Norm::l1, Norm::l0};

double length(Norm norm, Index n, const float* x, const float* x0, bool backwards) {
  double total = 0;
  for (Index i = 0; i < n; ++i) {
    const Index at = backwards ? n - 1 - i : i;
    const double d = std::fabs(static_cast<double>(x[at]) - static_cast<double>(x0[at]));
    if (norm == Norm::linf) total = std::max(total, d);
    if (norm == Norm::l2) total += d * d;
    if (norm == Norm::l1) total += d;
    if (norm == Norm::l0) total += d != 0;
  }
  return norm == Norm::l2 ? std::sqrt(total) : total;
}

// Rows with a gap of two floats between them, radii that differ, and a box that may be closed around a feature.
struct Problem {
  Norm norm;
  Index n, ld;
  std::vector<float> x, x0, lo, hi, eps;

  Problem(Norm which, Index features, float radius, bool box)
      : norm(which),
        n(features),
        ld(features + 2),
        x(uniform_floats(kRows * ld, static_cast<unsigned>(features), -2, 3, 0.1f)),
        x0(uniform_floats(kRows * ld, static_cast<unsigned>(features) + 1, 0, 1, 0.1f)),
        lo(x.size(), box ? 0.0f : -HUGE_VALF),
        hi(x.size(), box ? 1.0f : HUGE_VALF) {
    for (Index r = 0; r < kRows; ++r) {
      const auto row = static_cast<float>(r);
      eps.push_back(norm == Norm::l0 ? std::floor(radius * 10) + row : radius * (row + 1) / 2);
    }
    for (Index at = 0; box && at < kRows * ld; ++at)
      if (at % ld % 5 == 4) lo[at] = hi[at] = x0[at];  // a masked feature
  }

  std::vector<float> on_cpu(const Kernels& cpu) const {
    std::vector<float> y = x;
    cpu.project(nullptr, {norm, kRows, n, y.data(), x0.data(), lo.data(), hi.data(), ld, eps.data()});
    return y;
  }
  // Rows from `first` on of start.
  std::vector<float> on_gpu(const std::vector<float>& start, Index first = 0, Index rows = kRows,
                            Stream stream = nullptr) const {
    const auto some = [&](const std::vector<float>& all) {
      return std::vector<float>(all.begin() + first * ld, all.begin() + (first + rows) * ld);
    };
    DeviceArray<float> y(some(start)), centre(some(x0)), low(some(lo)), high(some(hi));
    DeviceArray<float> radius(std::vector<float>(eps.begin() + first, eps.begin() + first + rows));
    cuda::table().project(stream, {norm, rows, n, y.data(), centre.data(), low.data(), high.data(), ld, radius.data()});
    return y.host();
  }
};

void check_feasible(const Problem& p, const std::vector<float>& y) {
  bool within = true, inside = true, gaps = true;
  for (Index r = 0; r < kRows; ++r) {
    for (const bool backwards : {false, true})
      within &= length(p.norm, p.n, &y[r * p.ld], &p.x0[r * p.ld], backwards) <= static_cast<double>(p.eps[r]);
    for (Index at = r * p.ld; at < r * p.ld + p.n; ++at) inside &= y[at] >= p.lo[at] && y[at] <= p.hi[at];
    gaps &= same_bits(&y[r * p.ld + p.n], &p.x[r * p.ld + p.n], 2);
  }
  if (!CHECK(within && inside && gaps))
    std::printf("norm %d, features %d\n", static_cast<int>(p.norm), static_cast<int>(p.n));
}

// Both round the exact projection, computed in float64, towards x0: by a float each.
void check_same(const Problem& p, const std::vector<float>& y, const std::vector<float>& wanted) {
  if (p.norm == Norm::linf || p.norm == Norm::l0) {
    CHECK(same_bits(y, wanted));
    return;
  }
  bool near = true;
  for (std::size_t i = 0; i < y.size(); ++i)
    near &= std::fabs(static_cast<double>(y[i]) - wanted[i]) <=
            0x1p-23 * std::max({std::fabs(wanted[i]), std::fabs(p.x0[i]), 0x1p-126f});
  CHECK(near);
}

void test_projection(const Problem& p) {
  const auto y = p.on_gpu(p.x);
  check_feasible(p, y);
  for (const Kernels* cpu : tables()) check_same(p, y, p.on_cpu(*cpu));
  CHECK(same_bits(p.on_gpu(y), y));  // idempotent
  const auto alone = p.on_gpu(p.x, 1, 1);
  CHECK(same_bits(alone.data(), &y[p.ld], p.ld));
}

void test_ties_of_l0_are_admitted_in_order() {
  const Index n = 300;  // more than a block's threads
  Problem p(Norm::l0, n, 0.0f, false);
  for (Index at = 0; at < kRows * p.ld; ++at) p.x[at] = p.x0[at] = 0.5f;
  for (Index r = 0; r < kRows; ++r) {
    for (Index i = 0; i < n; i += 2) p.x[r * p.ld + i] = 1.0f;  // equal changes
    p.x[r * p.ld + 299] = 2.0f;                                 // and a larger one
    p.eps[r] = 70.0f + 0.5f * static_cast<float>(r);
  }
  const auto y = p.on_gpu(p.x);
  bool ok = true;
  for (Index r = 0; r < kRows; ++r)
    for (Index i = 0; i < n; ++i) {
      const bool kept = i == 299 || (i % 2 == 0 && i / 2 < (r < 2 ? 69 : 70));
      ok &= y[r * p.ld + i] == (kept ? p.x[r * p.ld + i] : 0.5f);
    }
  CHECK(ok);
  CHECK(same_bits(y, p.on_cpu(*tables().front())));
}

void test_far_points_come_back(Norm norm) {
  Problem p(norm, 33, 0.3f, false);
  for (std::size_t i = 0; i < p.x.size(); i += 2) p.x[i] *= 1e38f;
  for (Index r = 0; r < kRows; ++r) p.x[r * p.ld] = 0x1.fffffep127f, p.x0[r * p.ld] = -0x1.8p127f;
  const auto y = p.on_gpu(p.x);
  check_feasible(p, y);
  for (const Kernels* cpu : tables()) check_same(p, y, p.on_cpu(*cpu));
}

// Points a few floats in or out of the ball.
void test_edge_of_the_ball(Norm norm, Index n) {
  Problem p(norm, n, 0.3f, false);
  p.x = p.on_gpu(p.x);
  for (const float factor : {0x1.fffffcp-1f, 0x1.000004p0f, 0x1.0001p0f}) {
    Problem q = p;
    for (Index at = 0; at < kRows * p.ld; ++at) q.x[at] = p.x0[at] + (p.x[at] - p.x0[at]) * factor;
    const auto y = q.on_gpu(q.x);
    check_feasible(q, y);
    for (const Kernels* cpu : tables()) check_same(q, y, q.on_cpu(*cpu));
    if (factor < 1.0f) CHECK(same_bits(y, q.x));  // inside: left as it is
  }
}

void test_rows_that_have_left_are_left_alone(Norm norm) {
  const Problem p(norm, 17, 0.1f, true);
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{2});
  cuda::DeviceStream stream{nullptr, active.data()};
  const auto some = p.on_gpu(p.x, 0, kRows, &stream), all = p.on_gpu(p.x);
  CHECK(same_bits(some.data(), all.data(), 2 * p.ld));
  CHECK(same_bits(&some[2 * p.ld], &p.x[2 * p.ld], p.ld) && !same_bits(some, all));
}

}  // namespace

int main() {
  for (const Norm norm : kNorms) {
    for (const Index features : kSizes)
      for (const bool box : {false, true})
        for (const float radius : {0.0f, 1e-6f, 0.03137255f, 0.3f, 1.0f, 30.0f})
          test_projection(Problem(norm, features, radius, box));
    test_projection(Problem(norm, 500, 0.3f, true));  // more than a block's threads
    test_rows_that_have_left_are_left_alone(norm);
  }
  for (const Norm norm : {Norm::l2, Norm::l1})
    for (const Index features : {17, 97, 500}) test_edge_of_the_ball(norm, features);
  test_ties_of_l0_are_admitted_in_order();
  test_far_points_come_back(Norm::l2);
  test_far_points_come_back(Norm::l1);
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
