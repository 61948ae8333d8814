// Worst cases of linear models of the emulated GPU: the CPU's margins and points but for the order of float64 sums, and
// within ball and box.
#include "launch.cuh"

#include <algorithm>

#include "attacks/linear_row.h"
#include "check.h"
#include "cpu.h"
#include "device_array.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr Index kRows = 3;

struct Problem {
  Norm norm;
  Index n, classes, ld;
  std::vector<float> x0, lo, hi, weight, bias;
  std::vector<std::int32_t> labels;
  std::vector<double> eps;

  Problem(Norm which, Index features, Index k, bool box)
      : norm(which),
        n(features),
        classes(k),
        ld(features + 2),
        x0(uniform_floats(kRows * ld, 1, 0, 1, 0.1f)),
        lo(x0.size(), box ? 0.0f : -HUGE_VALF),
        hi(x0.size(), box ? 1.0f : HUGE_VALF),
        weight(uniform_floats(k * n, 2, -1, 1, 0.1f)),
        bias(uniform_floats(k, 3, -1, 1)) {
    for (Index r = 0; r < kRows; ++r) {
      labels.push_back(static_cast<std::int32_t>(classes == 1 ? r % 2 : (2 * r + 1) % classes));
      eps.push_back(norm == Norm::linf ? 0.1 * static_cast<double>(r + 1) : 0.3 * static_cast<double>(3 * r + 1));
    }
  }
};

struct Result {
  std::vector<float> x;
  std::vector<double> margin;
};

LinearCase descriptor(const Problem& p, Index rows) {
  LinearCase a;
  a.norm = p.norm;
  a.rows = rows;
  a.features = p.n;
  a.classes = p.classes;
  a.ld = p.ld;
  return a;
}

Result on_cpu(const Kernels& cpu, const Problem& p, bool bias) {
  Result out{std::vector<float>(p.x0.size(), 7.0f), std::vector<double>(kRows, -7.0)};
  LinearCase a = descriptor(p, kRows);
  a.x0 = p.x0.data(), a.lo = p.lo.data(), a.hi = p.hi.data(), a.weight = p.weight.data();
  a.bias = bias ? p.bias.data() : nullptr, a.labels = p.labels.data(), a.eps = p.eps.data();
  a.x = out.x.data(), a.margin = out.margin.data();
  cpu.linear_exact(nullptr, a);
  return out;
}

// Rows from `first` on.
Result on_gpu(const Problem& p, bool bias, Index first = 0, Index rows = kRows, Stream stream = nullptr) {
  const auto some = [&]<class T>(const std::vector<T>& all, Index width) {
    return std::vector<T>(all.begin() + first * width, all.begin() + (first + rows) * width);
  };
  DeviceArray<float> x0(some(p.x0, p.ld)), lo(some(p.lo, p.ld)), hi(some(p.hi, p.ld)), weight(p.weight), offset(p.bias),
      x(std::vector<float>(rows * p.ld, 7.0f));
  DeviceArray<std::int32_t> labels(some(p.labels, 1));
  DeviceArray<double> eps(some(p.eps, 1)), margin(std::vector<double>(rows, -7.0));
  LinearCase a = descriptor(p, rows);
  a.x0 = x0.data(), a.lo = lo.data(), a.hi = hi.data(), a.weight = weight.data();
  a.bias = bias ? offset.data() : nullptr, a.labels = labels.data(), a.eps = eps.data();
  a.x = x.data(), a.margin = margin.data();
  cuda::table().linear_exact(stream, a);
  return {x.host(), margin.host()};
}

double length(Norm norm, Index n, const float* x, const float* x0) {
  double total = 0;
  for (Index i = n; i-- > 0;) {
    const double d = std::fabs(static_cast<double>(x[i]) - static_cast<double>(x0[i]));
    total = norm == Norm::linf ? std::max(total, d) : norm == Norm::l2 ? total + d * d : total + d;
  }
  return norm == Norm::l2 ? std::sqrt(total) : total;
}

// Float64 sums of n terms of at most 3 (weights below 1 apart by less than 2, moves of at most 2.1), thrice.
double bound(const Problem& p) { return 3 * static_cast<double>(p.n + 4) * static_cast<double>(p.n) * 3 * 0x1p-53; }

void test_linear_exact(const Problem& p, bool bias) {
  const Result got = on_gpu(p, bias);
  for (const Kernels* cpu : tables()) {
    const Result wanted = on_cpu(*cpu, p, bias);
    bool near = true;
    for (Index r = 0; r < kRows; ++r) near &= std::fabs(got.margin[r] - wanted.margin[r]) <= bound(p);
    for (std::size_t i = 0; i < got.x.size(); ++i)
      near &= p.norm == Norm::linf ? got.x[i] == wanted.x[i]  // moves of eps have no sum in them
                                   : std::fabs(static_cast<double>(got.x[i]) - wanted.x[i]) <=
                                         0x1p-23 * (std::fabs(p.x0[i]) + std::fabs(wanted.x[i]));
    if (!CHECK(near))
      std::printf("norm %d, features %d, classes %d\n", static_cast<int>(p.norm), static_cast<int>(p.n),
                  static_cast<int>(p.classes));
  }
  bool inside = true;
  for (Index r = 0; r < kRows; ++r) {
    inside &= length(p.norm, p.n, &got.x[r * p.ld], &p.x0[r * p.ld]) <= p.eps[r];
    for (Index at = r * p.ld; at < r * p.ld + p.n; ++at) inside &= got.x[at] >= p.lo[at] && got.x[at] <= p.hi[at];
  }
  CHECK(inside);
  const Result alone = on_gpu(p, bias, 1, 1);
  CHECK(same_bits(alone.x.data(), &got.x[p.ld], p.ld) && same_bits(alone.margin.data(), &got.margin[1], 1));
}

// Equal weights: L1 fills the first features' room and leaves the rest of the budget to the next.
void test_ties_of_l1_are_filled_in_order() {
  const Index n = 200;  // more than a block's threads
  Problem p(Norm::l1, n, 1, false);
  std::fill(p.weight.begin(), p.weight.end(), 0.5f);
  for (Index at = 0; at < kRows * p.ld; ++at) p.x0[at] = 0.5f, p.lo[at] = 0.25f, p.hi[at] = 0.75f;
  p.eps = {0.375, 30.0, 0.0};
  const Result got = on_gpu(p, false);
  CHECK(same_bits(got.margin, on_cpu(*tables().front(), p, false).margin));  // these sums are exact
  bool ok = true;
  for (Index r = 0; r < kRows; ++r) {
    double left = p.eps[r];
    for (Index i = 0; i < n; ++i) {
      const double d = std::min(left, 0.25);
      left -= d;
      const double moved = std::fabs(static_cast<double>(got.x[r * p.ld + i]) - 0.5);
      ok &= moved <= d && moved >= d - 0x1p-23;
    }
  }
  CHECK(ok);
}

void test_rows_that_have_left_are_left_alone() {
  const Problem p(Norm::l2, 17, 4, true);
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{2});
  cuda::DeviceStream stream{nullptr, active.data()};
  const Result some = on_gpu(p, true, 0, kRows, &stream), all = on_gpu(p, true);
  CHECK(same_bits(some.x.data(), all.x.data(), 2 * p.ld) && same_bits(some.margin.data(), all.margin.data(), 2));
  CHECK(some.margin[2] == -7.0 && some.x[2 * p.ld] == 7.0f);
}

}  // namespace

int main() {
  for (const Norm norm : {Norm::linf, Norm::l2, Norm::l1}) {
    for (const Index n : kSizes)
      for (const bool box : {false, true}) {
        const Index classes = n % 3 == 0 ? 1 : n % 3 == 1 ? 2 : 4;
        test_linear_exact(Problem(norm, n, classes, box), n % 2 == 1);
      }
    test_linear_exact(Problem(norm, 200, 3, true), true);
  }
  test_ties_of_l1_are_filled_in_order();
  test_rows_that_have_left_are_left_alone();
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
