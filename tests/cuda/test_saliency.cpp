// JSMA's pair on the emulated GPU: the CPU's, the first of equals.
#include "launch.cuh"

#include "attacks/saliency_row.h"
#include "check.h"
#include "twin.h"

using namespace epsball;
using namespace epsball::test;

namespace {

void test_saliency(Index n, bool increase) {
  const Index ld = n + 1;
  Twin<float> target(floats(kRows * ld, 1)), others(floats(kRows * ld, 2)), x(floats(kRows * ld, 3, 0, 1)),
      lo(std::vector<float>(kRows * ld, 0.0f)), hi(std::vector<float>(kRows * ld, 1.0f));
  const std::vector<std::uint8_t> none(kRows, 0);
  Twin<std::uint8_t> moving(none), done(none);
  const auto before = x.cpu;
  for (int step = 0; step < 3; ++step)
    on_both([&](bool d, const Kernels& k, Stream s, Index rows) {
      SaliencyRows a{n, ld, target.on(d), others.on(d), increase, 0.5f, x.on(d), lo.on(d), hi.on(d)};
      a.moving = moving.on(d);
      a.done = done.on(d);
      k.saliency(s, rows, a);
    });
  CHECK(x.same() && lo.same() && hi.same() && moving.same() && done.same());
  CHECK(same_bits(&before[kActive * ld], &x.cpu[kActive * ld], ld));
  if (n > 30) CHECK(x.cpu != before);
}

}  // namespace

int main() {
  for (const Index n : kSizes)
    for (const bool increase : {false, true}) test_saliency(n, increase);
  test_saliency(300, true);  // more than a block's threads
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
