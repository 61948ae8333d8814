// The nearest point of a plane and the farthest corner of the box on the emulated GPU: the CPU's to rounding.
#include "launch.cuh"

#include "check.h"
#include "twin.h"

using namespace epsball;
using namespace epsball::test;

namespace {

void test_farthest_corner(Norm norm, Index n) {
  const Index ld = n + 2;
  Twin<float> x(floats(kRows * ld, 1, 0.0f, 1.0f)), lo(std::vector<float>(kRows * ld, 0.0f)),
      hi(std::vector<float>(kRows * ld, 1.0f)), out(std::vector<float>(kRows, -7.0f));
  on_both([&](bool d, const Kernels& k, Stream s, Index rows) {
    k.farthest_corner(s, {norm, rows, n, x.on(d), lo.on(d), hi.on(d), ld, out.on(d)});
  });
  CHECK(all_near(out.gpu.host(), out.cpu, 0x1p-22) && out.cpu[kActive] == -7.0f);
}

// Sums in another order: the multiplier, and so every coordinate, to a few roundings of the sums.
void test_hyperplane(Norm norm, Index n) {
  const Index ld = n + 2;
  Twin<float> x(floats(kRows * ld, 2, 0.0f, 1.0f)), at(floats(kRows * ld, 3, 0.0f, 1.0f)),
      normal(floats(kRows * ld, 4)), value(floats(kRows, 5)), lo(std::vector<float>(kRows * ld, 0.0f)),
      hi(std::vector<float>(kRows * ld, 1.0f)), z(std::vector<float>(kRows * ld, -7.0f));
  value.cpu[0] = 100.0f;  // out of reach
  Twin<float> values(value.cpu);
  on_both([&](bool d, const Kernels& k, Stream s, Index rows) {
    k.hyperplane(s, {norm, rows, n, x.on(d), at.on(d), normal.on(d), values.on(d), lo.on(d), hi.on(d), ld, z.on(d)});
  });
  CHECK(all_near(z.gpu.host(), z.cpu, 0x1p-18) && z.cpu[kActive * ld] == -7.0f);
  // On the plane, or at the end of the box.
  for (Index r = 1; r < kActive; ++r) {
    double start = values.cpu[r], reached = values.cpu[r];
    for (Index i = r * ld; i < r * ld + n; ++i) {
      start += normal.cpu[i] * (static_cast<double>(x.cpu[i]) - at.cpu[i]);
      reached += normal.cpu[i] * (static_cast<double>(z.cpu[i]) - at.cpu[i]);
    }
    bool corner = true;
    for (Index i = r * ld; i < r * ld + n; ++i) {
      const float towards = start < 0 ? normal.cpu[i] : -normal.cpu[i];
      corner &= towards == 0.0f || z.cpu[i] == (towards > 0.0f ? 1.0f : 0.0f);
    }
    CHECK(corner || std::fabs(reached) <= 0x1p-22 * static_cast<double>(n + 1));
  }
}

}  // namespace

int main() {
  for (const Index n : kSizes)
    for (const Norm norm : {Norm::linf, Norm::l2, Norm::l1, Norm::l0}) {
      test_farthest_corner(norm, n);
      if (norm != Norm::l0) test_hyperplane(norm, n);
    }
  test_hyperplane(Norm::l1, 300);  // more than a block's threads
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
