// Rows as vectors on every table: norms, products and combinations beside sums in double, between guards.
#include "check.h"
#include "dispatch.h"
#include "guarded.h"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr Index kRows = 3;
constexpr Norm kNorms[] = {Norm::linf, Norm::l2, Norm::l1, Norm::l0};

double norm_of(Norm norm, Index n, const float* x, const float* y) {
  double total = 0;
  for (Index i = 0; i < n; ++i) {
    const double d = std::fabs(static_cast<double>(x[i]) - (y ? static_cast<double>(y[i]) : 0.0));
    if (norm == Norm::linf) total = d > total ? d : total;
    if (norm == Norm::l2) total += d * d;
    if (norm == Norm::l1) total += d;
    if (norm == Norm::l0) total += d != 0;
  }
  return norm == Norm::l2 ? std::sqrt(total) : total;
}

// A float's own rounding, and that of a sum of n doubles.
bool rounded(float got, double wanted, double magnitude) {
  return std::fabs(got - wanted) <= 0x1p-24 * std::fabs(wanted) + 0x1p-45 * magnitude;
}

void test_norms_and_products(const Kernels& k, Index n) {
  const Index ld = n + 3;
  Guarded<float> x(uniform_floats(kRows * ld, 1, -2, 3, 0.2f)), y(uniform_floats(kRows * ld, 2, -1, 1, 0.2f));
  Guarded<float> out(kRows);
  for (const Norm norm : kNorms)
    for (const bool both : {false, true}) {
      k.row_norms(nullptr, {norm, kRows, n, x.data(), both ? y.data() : nullptr, ld, out.data()});
      for (Index r = 0; r < kRows; ++r) {
        const double wanted = norm_of(norm, n, &x[r * ld], both ? &y[r * ld] : nullptr);
        CHECK(rounded(out[r], wanted, wanted));
      }
    }
  k.row_dots(nullptr, kRows, n, x.data(), ld, y.data(), ld, out.data());
  for (Index r = 0; r < kRows; ++r) {
    double wanted = 0, magnitude = 0;
    for (Index i = 0; i < n; ++i) {
      const double product = static_cast<double>(x[r * ld + i]) * static_cast<double>(y[r * ld + i]);
      wanted += product;
      magnitude += std::fabs(product);
    }
    CHECK(rounded(out[r], wanted, magnitude));
  }
  CHECK(x.intact() && y.intact() && out.intact());
}

// Neither denormal nor huge rows lose their norm.
void test_norms_have_no_floor(const Kernels& k) {
  float x[] = {1e-40f, -1e-40f, 1e30f, 1e30f}, out[2];
  k.row_norms(nullptr, {Norm::l2, 2, 2, x, nullptr, 2, out});
  CHECK(rounded(out[0], std::sqrt(2.0) * static_cast<double>(1e-40f), 1.0 * 0x1p-100));
  CHECK(rounded(out[1], std::sqrt(2.0) * static_cast<double>(1e30f), 1e30));
}

void test_combinations(const Kernels& k, Index n) {
  const Index ld = n + 1;
  Guarded<float> a(uniform_floats(kRows * ld, 3, -1, 1)), b(uniform_floats(kRows * ld, 4, -1, 1)),
      c(uniform_floats(kRows * ld, 5, -1, 1)), by(uniform_floats(kRows, 6, -1, 1)), out(a.copy());
  Guarded<float> lo(std::vector<float>(static_cast<std::size_t>(kRows * ld), -0.5f)),
      hi(std::vector<float>(static_cast<std::size_t>(kRows * ld), 0.25f));
  for (const int count : {1, 2, 3})
    for (const bool limited : {false, true}) {
      CombineRows args{
          kRows, n, count, {{a.data(), ld, nullptr, 0.75f}, {b.data(), ld, by.data()}, {c.data(), ld, by.data(), -1}}};
      if (limited) args.lo = lo.data(), args.hi = hi.data(), args.ld_limits = ld;
      args.out = out.data();
      args.ld = ld;
      k.combine(nullptr, args);
      bool right = true, gap = true;
      for (Index r = 0; r < kRows; ++r) {
        for (Index i = 0; i < n; ++i) {
          const Index at = r * ld + i;
          double wanted = 0.75 * a[at];
          if (count > 1) wanted += static_cast<double>(by[r]) * b[at];
          if (count > 2) wanted -= static_cast<double>(by[r]) * c[at];
          if (limited) wanted = wanted < -0.5 ? -0.5 : wanted > 0.25 ? 0.25 : wanted;
          right &= std::fabs(out[at] - wanted) <= 4 * 0x1p-24 * 3;
        }
        gap &= same_bits(&out[r * ld + n], &a[r * ld + n], 1);
      }
      CHECK(right);
      CHECK(gap);
    }
  CHECK(a.intact() && b.intact() && c.intact() && by.intact() && out.intact() && lo.intact() && hi.intact());
}

}  // namespace

int main() {
  for (const Kernels* k : tables()) {
    for (const Index n : kSizes) {
      test_norms_and_products(*k, n);
      test_combinations(*k, n);
    }
    test_norms_have_no_floor(*k);
  }
  return finish();
}
