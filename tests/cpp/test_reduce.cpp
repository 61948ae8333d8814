// Reductions on every table.
#include <utility>

#include "check.h"
#include "dispatch.h"
#include "guarded.h"

using namespace epsball;
using namespace epsball::test;

namespace {

// A NaN or an infinity is found wherever it stands.
void test_all_finite(Index n) {
  for (const Kernels* table : tables()) {
    Guarded<float> x(uniform_floats(n, 8, -1.6e38f, 1.6e38f));
    CHECK(table->all_finite(nullptr, n, x.data()));
    for (const float bad : {std::nanf(""), INFINITY, -INFINITY})
      for (Index i = 0; i < n; ++i) {
        const float good = std::exchange(x[i], bad);
        CHECK(!table->all_finite(nullptr, n, x.data()));
        x[i] = good;
      }
    CHECK(x.intact());
  }
}

// Values on the box are in it; a value beside it or a NaN is found wherever it stands.
void test_all_inside(Index rows, Index n) {
  for (const Kernels* table : tables()) {
    Guarded<float> lo(uniform_floats(n, 1, -2, -1)), hi(uniform_floats(n, 2, 1, 2)), x(rows * n);
    for (Index i = 0; i < rows * n; ++i) x[i] = i % 3 == 0 ? lo[i % n] : i % 3 == 1 ? hi[i % n] : 0.5f;
    CHECK(table->all_inside(nullptr, rows, n, x.data(), lo.data(), hi.data()));
    for (Index i = 0; i < rows * n; ++i)
      for (const float bad : {std::nextafter(lo[i % n], -9.0f), std::nextafter(hi[i % n], 9.0f), std::nanf("")}) {
        const float good = std::exchange(x[i], bad);
        CHECK(!table->all_inside(nullptr, rows, n, x.data(), lo.data(), hi.data()));
        x[i] = good;
      }
    CHECK(x.intact() && lo.intact() && hi.intact());
  }
}

}  // namespace

int main() {
  for (const Index n : kSizes) test_all_finite(n);
  for (const Index n : kSizes)
    for (const Index rows : {1, 3}) test_all_inside(rows, n);
  return finish();
}
