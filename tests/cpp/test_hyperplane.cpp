// The nearest point of a plane within the box, on every table: as near as a bisection in double says, between guards.
#include <algorithm>

#include "check.h"
#include "dispatch.h"
#include "guarded.h"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr Index kRows = 4;
constexpr Norm kNorms[] = {Norm::linf, Norm::l2, Norm::l1};

// Rows whose planes lie at x, nearby, half the box away, and out of its reach.
struct Problem {
  Index n, ld;
  Guarded<float> x, at, normal, value, lo, hi, z;

  Problem(Index features, bool box, float scale)
      : n(features),
        ld(features + 2),
        x(uniform_floats(kRows * ld, 1, 0, 1, 0.2f)),
        at(uniform_floats(kRows * ld, 2, 0, 1)),
        normal(uniform_floats(kRows * ld, 3, -scale, scale, 0.2f)),
        value(kRows),
        lo(kRows * ld),
        hi(kRows * ld),
        z(kRows * ld) {
    for (Index i = 0; i < kRows * ld; ++i) {
      lo[i] = box ? 0.0f : -HUGE_VALF;
      hi[i] = box ? 1.0f : HUGE_VALF;
      if (box && i % ld % 5 == 4) lo[i] = hi[i] = x[i];  // a masked feature
    }
    for (Index r = 0; r < kRows; ++r) {
      const double away[] = {0.0, 0.01, 0.5, 2.0};
      double reach = 0.0, rise = 0.0;
      for (Index i = r * ld; i < r * ld + n; ++i) {
        const double a = normal[i];
        reach += std::fabs(a) * (box ? (a > 0 ? hi[i] - x[i] : x[i] - lo[i]) : 1.0);
        rise += a * (static_cast<double>(x[i]) - at[i]);
      }
      value[r] = static_cast<float>(-away[r] * reach - rise);
    }
  }
  // How far f is below 0 at x.
  double gap(Index r) {
    double f = value[r];
    for (Index i = r * ld; i < r * ld + n; ++i)
      f += static_cast<double>(normal[i]) * (static_cast<double>(x[i]) - at[i]);
    return -f;
  }
};

// Lengths of the features' moves that close the gap for the least norm, or all there is room for.
std::vector<double> nearest(Problem& p, Norm norm, Index r) {
  const double gap = p.gap(r), turned = gap < 0 ? -1 : 1;
  std::vector<double> a, room;
  for (Index i = r * p.ld; i < r * p.ld + p.n; ++i) {
    const double towards = turned * static_cast<double>(p.normal[i]);
    a.push_back(std::fabs(towards));
    room.push_back(towards > 0   ? static_cast<double>(p.hi[i]) - p.x[i]
                   : towards < 0 ? static_cast<double>(p.x[i]) - p.lo[i]
                                 : 0.0);
  }
  std::vector<double> d(a.size());
  const auto gain = [&](double t) {
    double total = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      const double wish = norm == Norm::linf ? t : norm == Norm::l2 ? a[i] * t : (a[i] * t > 1 ? HUGE_VAL : 0.0);
      d[i] = std::min(wish, room[i]);
      if (a[i] > 0) total += a[i] * d[i];
    }
    return total;
  };
  double below = 0, above = 1e6;
  for (int i = 0; i < 300; ++i) {
    const double middle = (below + above) / 2;
    (gain(middle) >= std::fabs(gap) ? above : below) = middle;
  }
  if (norm != Norm::l1) {
    gain(above);
    return d;
  }
  double left = std::fabs(gap) - gain(below);  // L1: the steepest first, the last one in part
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] * above > 1 && a[i] * below <= 1 && left > 0) {
      d[i] = std::min(left / a[i], room[i]);
      left -= a[i] * d[i];
    }
  return d;
}

double length(Norm norm, const std::vector<double>& d) {
  double total = 0;
  for (const double v : d) total = norm == Norm::linf ? std::max(total, v) : total + (norm == Norm::l2 ? v * v : v);
  return norm == Norm::l2 ? std::sqrt(total) : total;
}

void test_hyperplane(const Kernels& table, Norm norm, Index features, bool box, float scale) {
  Problem p(features, box, scale);
  table.hyperplane(nullptr, {norm, kRows, features, p.x.data(), p.at.data(), p.normal.data(), p.value.data(),
                             p.lo.data(), p.hi.data(), p.ld, p.z.data()});
  bool inside = true, as_near = true, as_far = true;
  for (Index r = 0; r < kRows; ++r) {
    double gained = 0, wanted = 0;
    std::vector<double> moved;
    const std::vector<double> best = nearest(p, norm, r);
    for (Index i = 0; i < features; ++i) {
      const Index at = r * p.ld + i;
      inside &= p.z[at] >= p.lo[at] && p.z[at] <= p.hi[at];
      const double d = static_cast<double>(p.z[at]) - p.x[at], a = p.normal[at];
      moved.push_back(std::fabs(d));
      gained += std::fabs(a) * std::fabs(d);
      wanted += std::fabs(a) * best[static_cast<std::size_t>(i)];
    }
    as_near &= length(norm, moved) <= length(norm, best) * (1 + 1e-5) + 1e-6;
    as_far &= std::fabs(gained - wanted) <= 1e-6 * scale * static_cast<double>(features);
  }
  if (!CHECK(inside && as_near && as_far))
    std::printf("norm %d, features %d\n", static_cast<int>(norm), static_cast<int>(features));
  CHECK(p.x.intact() && p.at.intact() && p.normal.intact() && p.value.intact() && p.lo.intact() && p.hi.intact() &&
        p.z.intact());
}

}  // namespace

int main() {
  for (const Kernels* table : tables())
    for (const Norm norm : kNorms)
      for (const Index features : kSizes)
        for (const bool box : {false, true})
          for (const float scale : {1e-3f, 1.0f, 100.0f}) test_hyperplane(*table, norm, features, box, scale);
  return finish();
}
