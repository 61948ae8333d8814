// The flip that gains most on the emulated GPU: the CPU's, the first of equals.
#include "launch.cuh"

#include "attacks/flip_row.h"
#include "check.h"
#include "twin.h"

using namespace epsball;
using namespace epsball::test;

namespace {

void test_flip(Index n, bool rise) {
  const Index ld = n + 1;
  auto values = floats(kRows * ld, 1);
  for (float& v : values) v = v > 0.0f ? 1.0f : 0.0f;
  auto slopes = floats(kRows * ld, 2);
  for (Index i = 0; i < ld; ++i) slopes[i] = rise ? 0.5f : -0.5f;  // the first row: all equal
  Twin<float> x(values), gradient(slopes), lo(std::vector<float>(kRows * ld, 0.0f)),
      hi(std::vector<float>(kRows * ld, 1.0f));
  const std::vector<std::uint8_t> none(kRows, 0);
  Twin<std::uint8_t> moving(none), done(none);
  for (int step = 0; step < 3; ++step)
    on_both([&](bool d, const Kernels& k, Stream s, Index rows) {
      k.flip(s, rows, {n, ld, gradient.on(d), rise, x.on(d), lo.on(d), hi.on(d), moving.on(d), done.on(d)});
    });
  CHECK(x.same() && lo.same() && hi.same() && moving.same() && done.same());
  Index flips = 0;
  for (Index i = 0; i < n && flips < 3; ++i) {
    if (values[i] == (rise ? 1.0f : 0.0f)) continue;
    CHECK(x.cpu[i] == (rise ? 1.0f : 0.0f));
    ++flips;
  }
  CHECK(done.cpu[0] == (flips < 3) && same_bits(&values[kActive * ld], &x.cpu[kActive * ld], ld));
}

}  // namespace

int main() {
  for (const Index n : kSizes)
    for (const bool rise : {false, true}) test_flip(n, rise);
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
