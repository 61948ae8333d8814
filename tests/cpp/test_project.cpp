// Projections and steps on every table: feasible in double, between guards, idempotent, and as near as an oracle gets.
#include <algorithm>

#include "check.h"
#include "dispatch.h"
#include "guarded.h"

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
  std::vector<float> start;
  Guarded<float> x, x0, lo, hi, eps;

  Problem(Norm which, Index features, float radius, bool box, unsigned seed)
      : norm(which),
        n(features),
        ld(features + 2),
        start(uniform_floats(kRows * ld, seed, -2, 3, 0.1f)),
        x(start),
        x0(uniform_floats(kRows * ld, seed + 1, 0, 1, 0.1f)),
        lo(kRows * ld),
        hi(kRows * ld),
        eps(kRows) {
    for (Index r = 0; r < kRows; ++r) {
      eps[r] =
          norm == Norm::l0 ? std::floor(radius * 10) + static_cast<float>(r) : radius * static_cast<float>(r + 1) / 2;
      for (Index i = 0; i < ld; ++i) {
        const Index at = r * ld + i;
        lo[at] = box ? 0.0f : -HUGE_VALF;
        hi[at] = box ? 1.0f : HUGE_VALF;
        if (box && i % 5 == 4) lo[at] = hi[at] = x0[at];  // a masked feature
      }
    }
  }
  BallRows ball() { return {norm, kRows, n, x.data(), x0.data(), lo.data(), hi.data(), ld, eps.data()}; }

  void check_feasible() {
    bool within = true, inside = true, gaps = true;
    for (Index r = 0; r < kRows; ++r) {
      for (const bool backwards : {false, true})
        within &= length(norm, n, &x[r * ld], &x0[r * ld], backwards) <= static_cast<double>(eps[r]);
      for (Index i = 0; i < n; ++i) inside &= x[r * ld + i] >= lo[r * ld + i] && x[r * ld + i] <= hi[r * ld + i];
      for (Index i = n; i < ld; ++i) gaps &= same_bits(&x[r * ld + i], &start[r * ld + i], 1);
    }
    if (!CHECK(within)) std::printf("norm %d, features %d\n", static_cast<int>(norm), static_cast<int>(n));
    CHECK(inside);
    CHECK(gaps && x.intact() && x0.intact() && lo.intact() && hi.intact() && eps.intact());
  }
};

double squared_distance(Index n, const float* a, const double* b) {
  double total = 0;
  for (Index i = 0; i < n; ++i) total += (a[i] - b[i]) * (a[i] - b[i]);
  return total;
}

// The L1 projection of row r in double, by bisection over the threshold.
std::vector<double> nearest_l1(Problem& p, Index r) {
  const float *v = &p.start[r * p.ld], *x0 = &p.x0[r * p.ld], *lo = &p.lo[r * p.ld], *hi = &p.hi[r * p.ld];
  const auto moved = [&](double t) {
    std::vector<double> d(static_cast<std::size_t>(p.n));
    for (Index i = 0; i < p.n; ++i) {
      const double wish = static_cast<double>(v[i]) - x0[i];
      const double room = wish < 0 ? static_cast<double>(x0[i]) - lo[i] : static_cast<double>(hi[i]) - x0[i];
      d[i] = std::copysign(std::min(std::max(std::fabs(wish) - t, 0.0), room), wish);
    }
    return d;
  };
  const auto size = [&](double t) {
    double s = 0;
    for (const double d : moved(t)) s += std::fabs(d);
    return s;
  };
  double below = 0, above = 10;
  for (int i = 0; i < 200 && size(0) > p.eps[r]; ++i) {
    const double middle = (below + above) / 2;
    (size(middle) > p.eps[r] ? below : above) = middle;
  }
  std::vector<double> x = moved(size(0) > p.eps[r] ? above : 0);
  for (Index i = 0; i < p.n; ++i) x[i] += x0[i];
  return x;
}

void test_projection(const Kernels& table, Norm norm, Index features, float radius, bool box) {
  Problem p(norm, features, radius, box, static_cast<unsigned>(features));
  table.project(nullptr, p.ball());
  p.check_feasible();
  if (norm == Norm::l1)
    for (Index r = 0; r < kRows; ++r) {
      const std::vector<double> wanted = nearest_l1(p, r);
      bool near = true;
      for (Index i = 0; i < features; ++i) near &= std::fabs(p.x[r * p.ld + i] - wanted[i]) <= 1e-6;
      CHECK(near);
    }
  if (norm == Norm::linf)
    for (Index r = 0; r < kRows; ++r) {
      std::vector<double> wanted(static_cast<std::size_t>(features));
      for (Index i = 0; i < features; ++i) {
        const Index at = r * p.ld + i;
        const double e = p.eps[r], x0 = p.x0[at], v = std::clamp<double>(p.start[at], x0 - e, x0 + e);
        wanted[i] = std::clamp<double>(v, p.lo[at], p.hi[at]);
      }
      CHECK(squared_distance(features, &p.x[r * p.ld], wanted.data()) <= 1e-13 * static_cast<double>(features));
    }
  const std::vector<float> once = p.x.copy();
  table.project(nullptr, p.ball());
  CHECK(same_bits(once.data(), p.x.data(), p.x.size()));
}

// A point well inside ball and box stays where it is, bit for bit.
void test_inside(const Kernels& table, Norm norm, Index features) {
  Problem p(norm, features, 1000.0f, false, 7);
  table.project(nullptr, p.ball());
  CHECK(same_bits(p.start.data(), p.x.data(), p.x.size()));
}

// Steps from the centre: within the ball, on its sphere where there is no box, and no feature against its gradient.
void test_step(const Kernels& table, Norm norm, Index features, bool box) {
  Problem p(norm, features, 0.3f, box, 11);
  p.start = p.x0.copy();
  std::copy(p.start.begin(), p.start.end(), p.x.data());
  std::vector<float> slope = uniform_floats(kRows * features, 12, -1, 1, 0.2f);
  for (Index i = 0; i < features; ++i) slope[i] = 0.0f;                // row 0 has no gradient
  for (Index i = 0; i < features; ++i) slope[features + i] *= 1e-42f;  // row 1 has denormal ones
  slope[features] = 1e-40f;
  slope[2 * features] = 0.9f;
  Guarded<float> gradient(slope), size(std::vector<float>(kRows, 0.2f));
  Guarded<std::uint8_t> moving(std::vector<std::uint8_t>(kRows, 0));
  if (norm == Norm::linf)  // for this norm the box holds the ball
    for (Index at = 0; at < kRows * p.ld; ++at) {
      const float e = 0.14f;
      p.lo[at] = std::max(p.lo[at], p.x0[at] - e);
      p.hi[at] = std::min(p.hi[at], p.x0[at] + e);
    }
  table.step(nullptr, {p.ball(), gradient.data(), features, size.data(), moving.data()});
  CHECK(moving[0] == 0 && moving[1] == 1 && moving[2] == 1 && moving.intact() && gradient.intact());
  CHECK(same_bits(&p.x[0], &p.x0[0], features));
  bool along = true;
  for (Index i = 0; i < kRows * features; ++i) {
    const Index at = i / features * p.ld + i % features;
    along &= (p.x[at] - p.x0[at]) * slope[i] >= 0.0f;
  }
  CHECK(along);
  if (norm == Norm::linf) return;
  p.check_feasible();
  if (box) return;
  for (Index r = 1; r < kRows; ++r)
    CHECK_NEAR(length(norm, features, &p.x[r * p.ld], &p.x0[r * p.ld], false), std::min(0.2f, p.eps[r]), 2e-6);
}

}  // namespace

int main() {
  for (const Kernels* table : tables())
    for (const Norm norm : kNorms)
      for (const Index features : kSizes) {
        for (const bool box : {false, true}) {
          for (const float radius : {0.0f, 1e-6f, 0.03137255f, 0.1f, 0.3f, 1.0f, 30.0f})
            test_projection(*table, norm, features, radius, box);
          if (norm != Norm::l0) test_step(*table, norm, features, box);
        }
        test_inside(*table, norm, features);
      }
  return finish();
}
