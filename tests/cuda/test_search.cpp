// Steps and rounds of Carlini and Wagner and of EAD on the emulated GPU: the CPU's decisions, its points to rounding.
#include "launch.cuh"

#include <algorithm>
#include <cmath>

#include "attacks/search_row.h"
#include "attacks/tighten_row.h"
#include "check.h"
#include "twin.h"

using namespace epsball;
using namespace epsball::test;

namespace {

// Adam divides by a root: an error of the gradient counts in full where the gradient is small, and where Adam has just
// forgotten what was before, rounding says how far a feature of nearly no slope goes: at most by the rate, 0.01.
bool adam_near(const std::vector<float>& a, const std::vector<float>& b, const std::vector<float>& moment) {
  bool ok = a.size() == b.size();
  for (std::size_t i = 0; ok && i < a.size(); ++i) ok = near(a[i], b[i], std::fabs(moment[i]) < 1e-3f ? 1e-2 : 1e-4);
  return ok;
}

void test_searches_and_steps(Index n) {
  const Index ld = n + 3;
  const auto zeros = std::vector<float>(kRows, 0.0f), ones = std::vector<float>(kRows, 1.0f);
  Twin<float> x0(floats(kRows * ld, 1, 0, 1)), x(x0.cpu), w(floats(kRows * ld, 2)), m1(w.cpu), m2(x0.cpu), y(x0.cpu),
      z(x0.cpu), lo(std::vector<float>(kRows * ld, 0.0f)), hi(std::vector<float>(kRows * ld, 1.0f)),
      gradient(floats(kRows * ld, 3)), loss(floats(kRows, 4)), distance(floats(kRows, 5, 0, 1)), sparsity(distance.cpu),
      constant(ones), lower(zeros), upper(std::vector<float>(kRows, 1e10f)), before(ones), push(zeros), power1(ones),
      power2(ones);
  Twin<std::int32_t> predicted(classes_of_rows(3, 0)), labels(classes_of_rows(2, 0)),
      step(std::vector<std::int32_t>(kRows, 0)), search(std::vector<std::int32_t>(kRows, 0));
  const std::vector<std::uint8_t> none(kRows, 0);
  Twin<std::uint8_t> found(none), restart(std::vector<std::uint8_t>(kRows, 1)), done(none), moving(none), gained(none);
  Twin<std::uint8_t> improved({0, 1, 0, 1, 0});
  for (int iteration = 0; iteration < 9; ++iteration)
    on_both([&](bool d, const Kernels& k, Stream s, Index rows) {
      BoxAdam a{n,          ld,           x0.on(d),     lo.on(d),     hi.on(d), gradient.on(d),
                push.on(d), power1.on(d), power2.on(d), restart.on(d)};
      a.rate = 0.01f;
      a.x = x.on(d), a.w = w.on(d), a.moment1 = m1.on(d), a.moment2 = m2.on(d), a.moving = moving.on(d);
      k.box_adam(s, rows, a);
      Shrinkage e{n, ld, x0.on(d), lo.on(d), hi.on(d), gradient.on(d), push.on(d), step.on(d), restart.on(d), 3};
      e.rate = 0.01f, e.beta = 0.001f, e.y = y.on(d), e.z = z.on(d), e.moving = moving.on(d);
      k.shrink(s, rows, e);
      SearchRows r{loss.on(d), distance.on(d), sparsity.on(d), predicted.on(d), labels.on(d), false, true, 0.1f, 0.01f};
      r.steps = 3, r.searches = 2, r.every = 2;
      r.improved = improved.on(d), r.gained = gained.on(d);
      r.constant = constant.on(d), r.lower = lower.on(d), r.upper = upper.on(d), r.before = before.on(d);
      r.step = step.on(d), r.search = search.on(d), r.found = found.on(d), r.restart = restart.on(d);
      r.push = push.on(d), r.power1 = power1.on(d), r.power2 = power2.on(d), r.done = done.on(d);
      k.search(s, rows, r);
    });
  CHECK(adam_near(x.gpu.host(), x.cpu, m1.cpu) && all_near(y.gpu.host(), y.cpu, 1e-5) &&
        all_near(z.gpu.host(), z.cpu, 1e-5));
  CHECK(constant.same() && lower.same() && upper.same() && push.same() && step.same() && search.same());
  CHECK(found.same() && restart.same() && done.same() && moving.same() && gained.same());
  CHECK(search.cpu[0] > 0 && search.cpu[kActive] == 0);
}

// L-infinity's and L0's rounds, by Adam, with features that freeze.
void test_rounds(Index n, bool threshold) {
  const Index ld = n + 3;
  const auto zeros = std::vector<float>(kRows, 0.0f), ones = std::vector<float>(kRows, 1.0f);
  const auto infinite = std::vector<float>(kRows, __builtin_inff());
  Twin<float> x0(floats(kRows * ld, 1, 0, 1)), x(floats(kRows * ld, 2, 0, 1)), w(floats(kRows * ld, 3)), m1(w.cpu),
      m2(x0.cpu), lo(std::vector<float>(kRows * ld, 0.0f)), hi(std::vector<float>(kRows * ld, 1.0f)),
      gradient(floats(kRows * ld, 4)), loss({0.5f, -0.25f, 0.125f, -1.0f, 2.0f}),
      distance({0.3f, 0.2f, 0.4f, 0.1f, 0.5f}), penalty(zeros), constant(ones), tau(infinite), before(infinite),
      push(zeros), power1(ones), power2(ones);
  Twin<std::int32_t> predicted({0, 1, 2, 1, 0}), labels({1, 1, 0, 1, 1}), step(std::vector<std::int32_t>(kRows, 0)),
      search(step.cpu), spent(step.cpu);
  const std::vector<std::uint8_t> none(kRows, 0);
  Twin<std::uint8_t> won(none), restart(std::vector<std::uint8_t>(kRows, kFromInput)), done(none), moving(none);
  const std::vector<float> start = x.cpu;
  for (int iteration = 0; iteration < 9; ++iteration)
    on_both([&](bool d, const Kernels& k, Stream s, Index rows) {
      BoxAdam a{n,          ld,           x0.on(d),     lo.on(d),     hi.on(d), gradient.on(d),
                push.on(d), power1.on(d), power2.on(d), restart.on(d)};
      a.tau = threshold ? tau.on(d) : nullptr;
      a.rate = 0.001f, a.x = x.on(d), a.w = w.on(d), a.moment1 = m1.on(d), a.moment2 = m2.on(d);
      a.penalty = penalty.on(d), a.moving = moving.on(d);
      k.box_adam(s, rows, a);
      TightenRows t{loss.on(d),
                    penalty.on(d),
                    threshold ? distance.on(d) : nullptr,
                    predicted.on(d),
                    labels.on(d),
                    false,
                    true,
                    0.0f,
                    3,
                    2};
      t.constant = constant.on(d), t.tau = threshold ? tau.on(d) : nullptr, t.before = before.on(d);
      t.step = step.on(d), t.spent = spent.on(d), t.search = search.on(d), t.won = won.on(d), t.restart = restart.on(d);
      t.push = push.on(d), t.power1 = power1.on(d), t.power2 = power2.on(d), t.done = done.on(d);
      k.tighten(s, rows, t);
      FreezeRows f{n, ld, x0.on(d), gradient.on(d), won.on(d)};
      f.x = x.on(d), f.lo = lo.on(d), f.hi = hi.on(d);
      if (!threshold) k.freeze(s, rows, f);
    });
  // Adam forgets where a row wins: the next step is as long as ever, and where the slope is nearly 0 rounding says how
  // far.
  CHECK(all_near(x.gpu.host(), x.cpu, 1e-4) && all_near(penalty.gpu.host(), penalty.cpu, 1e-3));
  CHECK(constant.same() && tau.same() && push.same() && step.same() && spent.same() && search.same());
  CHECK(won.same() && restart.same() && done.same() && moving.same());
  CHECK(won.cpu[1] == 0 && search.cpu[1] >= 2 && done.cpu[1] == 1 && search.cpu[kActive] == 0);
  CHECK(threshold ? tau.cpu[0] < 0.3f : tau.cpu[0] == __builtin_inff());
}

// The features that cost least, equals in order of their index, and no more than are allowed.
void test_freeze(Index n, bool cheap) {
  const Index ld = n + 1;
  std::vector<float> costs;
  for (Index i = 0; i < kRows * ld; ++i)
    costs.push_back((cheap ? 0.0009765625f : 1.0f) * static_cast<float>(i * 7 % 5));
  Twin<float> x0(std::vector<float>(kRows * ld, 0.0f)), x(std::vector<float>(kRows * ld, 1.0f)), gradient(costs),
      lo(x0.cpu), hi(x.cpu);
  Twin<std::uint8_t> won({1, 0, 1, 1, 1});
  on_both([&](bool d, const Kernels& k, Stream s, Index rows) {
    FreezeRows f{n, ld, x0.on(d), gradient.on(d), won.on(d)};
    f.x = x.on(d), f.lo = lo.on(d), f.hi = hi.on(d);
    k.freeze(s, rows, f);
  });
  CHECK(x.same() && lo.same() && hi.same());
  const auto most = static_cast<Index>(std::ceil(0.3 * std::sqrt(static_cast<double>(n))));
  for (Index r = 0; r < kRows; ++r) {
    std::vector<std::pair<float, Index>> order;
    for (Index i = 0; i < n; ++i) order.push_back({costs[r * ld + i], i});
    std::sort(order.begin(), order.end());
    Index wanted = 0;
    while (wanted < std::min(n, most) && (wanted == 0 || order[wanted - 1].first <= 0.01f)) ++wanted;
    if (r == 1 || r == kActive) wanted = 0;
    for (Index i = 0; i < n; ++i) {
      const Index at = r * ld + order[i].second;
      CHECK(x.cpu[at] == (i < wanted ? 0.0f : 1.0f) && hi.cpu[at] == x.cpu[at]);
    }
  }
}

}  // namespace

int main() {
  for (const Index n : kSizes) {
    test_searches_and_steps(n);
    for (const bool flag : {false, true}) {
      test_rounds(n, flag);
      test_freeze(n, flag);
    }
  }
  test_freeze(300, true);  // more than a block's threads
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
