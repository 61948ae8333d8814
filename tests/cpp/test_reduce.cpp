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
    Guarded<float> x(uniform_floats(n, 8, -3e38f, 3e38f));
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

}  // namespace

int main() {
  for (const Index n : kSizes) test_all_finite(n);
  return finish();
}
