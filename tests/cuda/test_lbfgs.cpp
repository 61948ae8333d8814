// L-BFGS on the emulated GPU and on the CPU: both end where the objective is least.
#include "launch.cuh"

#include <algorithm>
#include <cmath>

#include "attacks/lbfgs_row.h"
#include "check.h"
#include "twin.h"

using namespace epsball;
using namespace epsball::test;

namespace {

// Down ||x - x0||^2 + c (a x + b x^2) in a box: where it ends is known, feature by feature.
void test_lbfgs(Index n) {
  const Index ld = n + 2, history_ld = 2 * kPairs * ld + 1;
  const auto slopes = floats(ld, 1), curves = floats(ld, 2, 0.0f, 3.0f);
  Twin<float> x0(floats(kRows * ld, 3, 0, 1)), x(x0.cpu), lo(std::vector<float>(kRows * ld, 0.0f)),
      hi(std::vector<float>(kRows * ld, 1.0f)), x_k(x.cpu), slope(x.cpu), direction(x.cpu),
      history(std::vector<float>(kRows * history_ld, 0.0f)), step_length(std::vector<float>(kRows, 0.0f)),
      constant(std::vector<float>(kRows, 2.0f)), lower(step_length.cpu), upper(std::vector<float>(kRows, 1e10f)),
      before(std::vector<float>(kRows, __builtin_inff())), push(step_length.cpu), power1(step_length.cpu),
      power2(step_length.cpu);
  Twin<std::int32_t> predicted(std::vector<std::int32_t>(kRows, 0)), labels(predicted.cpu), step(predicted.cpu),
      search(predicted.cpu), pairs(std::vector<std::int32_t>(kRows, -1));
  const std::vector<std::uint8_t> none(kRows, 0);
  Twin<std::uint8_t> found(none), restart(none), done(none), moving(none);
  const std::vector<float> start = x0.cpu;
  std::vector<float> reached[2] = {x0.cpu, x0.cpu};
  std::vector<std::uint8_t> ended[2] = {none, none};
  for (int iteration = 0; iteration < 60; ++iteration)
    on_both([&](bool d, const Kernels& k, Stream s, Index rows) {
      std::vector<float> values = d ? x.gpu.host() : x.cpu, g(values.size(), 0.0f), f(kRows, 0.0f);
      for (Index r = 0; r < kRows; ++r)
        for (Index i = 0; i < n; ++i) {
          const float v = values[r * ld + i];
          f[r] += slopes[i] * v + curves[i] * v * v;
          g[r * ld + i] = -(slopes[i] + 2.0f * curves[i] * v);
        }
      Twin<float> fs(f), gs(g);
      LbfgsRows a;
      SearchRows& c = a.search;
      c.loss = fs.on(d), c.predicted = predicted.on(d), c.labels = labels.on(d);
      c.steps = 1000, c.searches = 1, c.constant = constant.on(d), c.lower = lower.on(d), c.upper = upper.on(d);
      c.before = before.on(d), c.step = step.on(d), c.search = search.on(d), c.found = found.on(d);
      c.restart = restart.on(d), c.push = push.on(d), c.power1 = power1.on(d), c.power2 = power2.on(d);
      c.done = done.on(d);
      a.features = n, a.ld = ld, a.x0 = x0.on(d), a.lo = lo.on(d), a.hi = hi.on(d), a.gradient = gs.on(d);
      a.x = x.on(d), a.x_k = x_k.on(d), a.slope = slope.on(d), a.direction = direction.on(d);
      a.history = history.on(d), a.history_ld = history_ld, a.step_length = step_length.on(d), a.pairs = pairs.on(d);
      a.moving = moving.on(d);
      k.lbfgs(s, rows, a);
      // A row that has ended begins again: what counts is where it was then.
      const std::vector<float> points = d ? x_k.gpu.host() : x_k.cpu;
      const std::vector<std::uint8_t> over = d ? done.gpu.host() : done.cpu;
      for (Index r = 0; r < kActive; ++r)
        if (over[r] && !ended[d][r]) std::copy_n(&points[r * ld], n, &reached[d][r * ld]);
      ended[d] = over;
    });
  CHECK(ended[0] == ended[1] && ended[0] == std::vector<std::uint8_t>({1, 1, 1, 1, 0}));
  // The objective has fallen to some 1e-6 of the least: a coordinate to the root of that.
  const double tolerance = 3e-3 * std::sqrt(static_cast<double>(n));
  for (Index r = 0; r < kActive; ++r)
    for (Index i = 0; i < n; ++i) {
      const double least = (2.0 * start[r * ld + i] - 2.0 * slopes[i]) / (2.0 + 4.0 * curves[i]);
      const double wanted = std::min(std::max(least, 0.0), 1.0);
      for (const auto& points : reached) CHECK(std::fabs(points[r * ld + i] - wanted) <= tolerance);
    }
  CHECK(moving.same() && found.same());
  CHECK(same_bits(&start[kActive * ld], &x.cpu[kActive * ld], ld));
}

}  // namespace

int main() {
  for (const Index n : kSizes) test_lbfgs(n);
  test_lbfgs(300);  // more than a block's threads
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
