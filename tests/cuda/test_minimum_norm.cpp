// What minimum-norm attacks do per row on the emulated GPU: the CPU's decisions and pairs, its points to rounding, and
// rows that have left left alone.
#include "launch.cuh"

#include <algorithm>

#include "attacks/ddn_row.h"
#include "attacks/decision_row.h"
#include "attacks/fab_row.h"
#include "attacks/flip_row.h"
#include "attacks/fmn_row.h"
#include "attacks/lbfgs_row.h"
#include "attacks/newton_fool_row.h"
#include "attacks/planes_row.h"
#include "attacks/pointwise_row.h"
#include "attacks/saliency_row.h"
#include "attacks/search_row.h"
#include "attacks/tighten_row.h"
#include "check.h"
#include "cpu.h"
#include "device_array.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr Index kRows = 5, kActive = 4;

std::vector<float> floats(Index count, unsigned seed, float lo = -1.0f, float hi = 1.0f) {
  return uniform_floats(count, seed, lo, hi, 0.1f);
}

// A value of the GPU and its twin of the CPU, from the same numbers.
template <class T>
struct Twin {
  std::vector<T> cpu;
  DeviceArray<T> gpu;

  explicit Twin(const std::vector<T>& values) : cpu(values), gpu(values) {}
  T* on(bool device) { return device ? gpu.data() : cpu.data(); }
  bool same() const {
    const auto got = gpu.host();
    return std::equal(got.begin(), got.end(), cpu.begin(), [](T a, T b) { return a == b; });
  }
};

// Calls run(on the device or not, table, stream, rows) for both; only the first kActive rows take part.
template <class Run>
void on_both(Run run) {
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{kActive});
  cuda::DeviceStream stream{nullptr, active.data()};
  run(true, cuda::table(), static_cast<Stream>(&stream), kRows);
  run(false, *tables().front(), static_cast<Stream>(nullptr), kActive);
}

std::vector<std::int32_t> classes_of_rows(Index classes, int shift) {
  std::vector<std::int32_t> out;
  for (Index r = 0; r < kRows; ++r) out.push_back(static_cast<std::int32_t>((3 * r + shift) % classes));
  return out;
}

void test_reach(Norm norm, Index n) {
  const Index ld = n + 2;
  Twin<float> x(floats(kRows * ld, 1, 0.0f, 1.0f)), lo(std::vector<float>(kRows * ld, 0.0f)),
      hi(std::vector<float>(kRows * ld, 1.0f)), out(std::vector<float>(kRows, -7.0f));
  on_both([&](bool d, const Kernels& k, Stream s, Index rows) {
    k.row_reach(s, {norm, rows, n, x.on(d), lo.on(d), hi.on(d), ld, out.on(d)});
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

void test_planes(Index classes) {
  const Index ld = classes + 1, count = classes == 1 ? 1 : classes - 1;
  Twin<float> logits(floats(kRows * ld, 6)), dlogits(std::vector<float>(kRows * ld, -7.0f)),
      slope(floats(kRows, 7, 0, 1)), away(floats(kRows, 8, 0, 1)), value(floats(kRows, 9));
  Twin<std::int32_t> labels(classes_of_rows(std::max<Index>(classes, 2), 1)),
      rivals(std::vector<std::int32_t>(kRows * count, -7));
  Twin<std::uint8_t> moving(std::vector<std::uint8_t>(kRows, 0)), nearer(std::vector<std::uint8_t>(kRows, 7));
  for (const int mode : {0, 1, 2})
    on_both([&](bool d, const Kernels& k, Stream s, Index rows) {
      k.rank_rivals(s, rows, {classes, count, logits.on(d), ld, labels.on(d), rivals.on(d)});
      LogitPair pair{classes, labels.on(d), mode == 0 ? rivals.on(d) : nullptr, count, mode == 1};
      pair.dlogits = dlogits.on(d);
      pair.ld = ld;
      k.logit_pair(s, rows, pair);
      NearestPlane plane{classes, logits.on(d), ld, labels.on(d), rivals.on(d), count, slope.on(d), mode == 0, 0.125f};
      plane.away = away.on(d);
      plane.value = value.on(d);
      plane.moving = moving.on(d);
      plane.nearer = nearer.on(d);
      k.nearest_plane(s, rows, plane);
    });
  CHECK(rivals.same() && dlogits.same() && away.same() && value.same() && moving.same() && nearer.same());
  CHECK(rivals.cpu.back() == -7 && nearer.cpu.back() == 7);
  bool sorted = true;
  for (Index r = 0; r < kActive; ++r)
    for (Index i = 1; i < count; ++i)
      sorted &= logits.cpu[r * ld + rivals.cpu[r * count + i]] <= logits.cpu[r * ld + rivals.cpu[r * count + i - 1]];
  CHECK(sorted);
}

void test_radii() {
  Twin<std::int32_t> predicted(classes_of_rows(3, 0)), labels(classes_of_rows(2, 0)), slot({3, 0, 1, 4, 2});
  Twin<std::uint8_t> success({1, 0, 1, 0, 1});
  Twin<float> reach(floats(kRows, 1, 1, 9)), radius(floats(kRows, 2, 1, 4)), size(floats(kRows, 3)),
      best(floats(kRows, 4, 0, 3)), distance(floats(kRows, 5, 0, 2)), loss(floats(kRows, 6)),
      slope(floats(kRows, 7, 0, 1)), scale(floats(kRows, 8)), rest(floats(kRows, 9)), reached(floats(kRows, 10)),
      ddn_size({0.5f});
  Twin<FmnStep> step({{0.05f, 0.25f}});
  for (const bool targeted : {false, true})
    for (const bool count : {false, true})
      on_both([&](bool d, const Kernels& k, Stream s, Index rows) {
        k.ddn(s, rows,
              {predicted.on(d), labels.on(d), reach.on(d), targeted, 0.05f, ddn_size.on(d), radius.on(d), size.on(d)});
        k.sphere(s, rows, {radius.on(d), distance.on(d), scale.on(d), rest.on(d)});
        FmnRows f{predicted.on(d), labels.on(d), slot.on(d),  success.on(d), best.on(d), distance.on(d),
                  loss.on(d),      slope.on(d),  reach.on(d), targeted,      count};
        f.step = step.on(d);
        f.radius = radius.on(d);
        f.step_size = size.on(d);
        k.fmn(s, rows, f);
        FabRows b{distance.on(d), best.on(d), 0.1f, scale.on(d), rest.on(d)};
        if (count) b.to_plane = nullptr;
        b.predicted = predicted.on(d);
        b.labels = labels.on(d);
        b.beta = 0.9f;
        k.fab(s, rows, b);
        k.fab_start(s, rows, {slot.on(d), success.on(d), best.on(d), 1.0f, reached.on(d)});
      });
  CHECK(all_near(radius.gpu.host(), radius.cpu, 0x1p-22) && all_near(scale.gpu.host(), scale.cpu, 0x1p-22));
  CHECK(all_near(rest.gpu.host(), rest.cpu, 0x1p-22) && size.same() && reached.same());
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
  Twin<std::uint8_t> found(none), restart(std::vector<std::uint8_t>(kRows, 1)), done(none), moving(none);
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
      r.steps = 3, r.searches = 2;
      r.constant = constant.on(d), r.lower = lower.on(d), r.upper = upper.on(d), r.before = before.on(d);
      r.step = step.on(d), r.search = search.on(d), r.found = found.on(d), r.restart = restart.on(d);
      r.push = push.on(d), r.power1 = power1.on(d), r.power2 = power2.on(d), r.done = done.on(d);
      k.search(s, rows, r);
    });
  // Adam divides by a root: an error of the gradient counts in full where the gradient is small.
  CHECK(all_near(x.gpu.host(), x.cpu, 1e-4) && all_near(y.gpu.host(), y.cpu, 1e-5) &&
        all_near(z.gpu.host(), z.cpu, 1e-5));
  CHECK(constant.same() && lower.same() && upper.same() && push.same() && step.same() && search.same());
  CHECK(found.same() && restart.same() && done.same() && moving.same());
  CHECK(search.cpu[0] > 0 && search.cpu[kActive] == 0);
}

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

// Down ||x - x0||^2 + c (a x + b x^2) in a box: where it ends is known, feature by feature.
void test_lbfgs(Index n) {
  const Index ld = n + 2, history_ld = 2 * kPairs * ld + 1;
  const auto slopes = floats(ld, 1), curves = floats(ld, 2, 0.0f, 3.0f);
  Twin<float> x0(floats(kRows * ld, 3, 0, 1)), x(x0.cpu), lo(std::vector<float>(kRows * ld, 0.0f)),
      hi(std::vector<float>(kRows * ld, 1.0f)), at(x.cpu), slope(x.cpu), direction(x.cpu),
      history(std::vector<float>(kRows * history_ld, 0.0f)), stride(std::vector<float>(kRows, 0.0f)),
      constant(std::vector<float>(kRows, 2.0f)), lower(stride.cpu), upper(std::vector<float>(kRows, 1e10f)),
      before(std::vector<float>(kRows, __builtin_inff())), push(stride.cpu), power1(stride.cpu), power2(stride.cpu);
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
      a.x = x.on(d), a.at = at.on(d), a.slope = slope.on(d), a.direction = direction.on(d);
      a.history = history.on(d), a.history_ld = history_ld, a.stride = stride.on(d), a.pairs = pairs.on(d);
      a.moving = moving.on(d);
      k.lbfgs(s, rows, a);
      // A row that has ended begins again: what counts is where it was then.
      const std::vector<float> points = d ? at.gpu.host() : at.cpu;
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

// Questions and answers, cuts, probes, leaps and walks of attacks that learn labels only, over several rounds.
void test_decisions(bool targeted) {
  const std::vector<std::uint8_t> none(kRows, 0), all(kRows, 1);
  const std::vector<float> zeros(kRows, 0.0f);
  Twin<std::int32_t> predicted(classes_of_rows(3, 0)), labels(classes_of_rows(2, 0)), slot({3, 0, 1, 4, 2}),
      asked(std::vector<std::int32_t>(kRows, 0)), passed(asked.cpu);
  Twin<std::int64_t> queries({0, 3, 1, 0, 2});
  Twin<std::uint8_t> waiting({1, 1, 0, 1, 1}), unasked(none), adversarial(none), broken(none), success({0, 1, 0, 1, 0}),
      improved(none), done(none), leaping(none);
  Twin<float> loss(floats(kRows, 1)), distance(floats(kRows, 2, 0, 2)), reached(floats(kRows, 3, 0, 2)), low(zeros),
      high(zeros), middle(zeros), rest(zeros), radius(zeros), best(floats(kRows, 4, 0, 2)),
      trace(std::vector<float>(2 * kRows, -7.0f)), sign(zeros), weight(zeros), sum(zeros), count(zeros), size(zeros),
      orthogonal(floats(kRows, 5, 0, 1)), towards(floats(kRows, 6, 0, 1)), stay(zeros), move(zeros), ones(zeros);
  loss.cpu[1] = __builtin_inff();
  Twin<float> losses(loss.cpu);
  for (int round = 0; round < 40; ++round)
    on_both([&](bool d, const Kernels& k, Stream s, Index rows) {
      k.ask(s, rows, {round < 2 ? waiting.on(d) : nullptr, slot.on(d), 35, queries.on(d), unasked.on(d)});
      k.answer(s, rows,
               {kRows, nullptr, predicted.on(d), losses.on(d), labels.on(d), slot.on(d), unasked.on(d), targeted,
                adversarial.on(d), broken.on(d)});
      k.begin(s, rows, {adversarial.on(d), waiting.on(d)});
      k.cut(s, rows,
            {round == 0 ? nullptr : unasked.on(d), adversarial.on(d), distance.on(d), low.on(d), high.on(d),
             middle.on(d), rest.on(d), radius.on(d)});
      NearestRows n{waiting.on(d), slot.on(d), distance.on(d), queries.on(d), 35, best.on(d), success.on(d)};
      n.improved = improved.on(d), n.done = done.on(d), n.trace = trace.on(d), n.trace_ld = 2;
      k.nearest(s, rows, n);
      k.probe(s, rows, {unasked.on(d), adversarial.on(d), sign.on(d), ones.on(d), sum.on(d), count.on(d)});
      k.baseline(s, rows, {sum.on(d), count.on(d), weight.on(d)});
      k.leap(
          s, rows,
          {round == 0 ? nullptr : unasked.on(d), adversarial.on(d), distance.on(d), 0.5f, size.on(d), leaping.on(d)});
      k.walk(s, rows,
             {distance.on(d), round % 2 ? reached.on(d) : nullptr, orthogonal.on(d), towards.on(d), stay.on(d),
              move.on(d)});
      AdaptRows a{unasked.on(d), adversarial.on(d), round % 2 == 0, distance.on(d),
                  reached.on(d), orthogonal.on(d),  towards.on(d)};
      a.asked = asked.on(d), a.passed = passed.on(d), a.improved = improved.on(d);
      k.adapt(s, rows, a);
    });
  CHECK(queries.same() && unasked.same() && adversarial.same() && broken.same() && waiting.same() && success.same());
  CHECK(improved.same() && done.same() && leaping.same() && asked.same() && passed.same());
  CHECK(low.same() && high.same() && middle.same() && rest.same() && best.same() && trace.same() && sign.same());
  CHECK(sum.same() && count.same() && size.same() && radius.same() && ones.same());
  for (Twin<float>* each : {&weight, &orthogonal, &towards, &stay, &move})
    CHECK(all_near(each->gpu.host(), each->cpu, 0x1p-21));
  CHECK(queries.cpu[3] == 35 && queries.cpu[2] == 1 && broken.cpu[0] == 1 && asked.cpu[kActive] == 0);
}

// One rank at a time.
void test_ranks(Index rows, Index classes, std::int32_t active_rows) {
  const Index ld = classes + 1;
  const auto logits = uniform_floats(rows * ld, 1, -2, 2, 0.3f);  // ties occur
  std::vector<std::int32_t> labels, wanted(static_cast<std::size_t>(rows), -1);
  for (Index r = 0; r < rows; ++r) labels.push_back(static_cast<std::int32_t>(r % std::max<Index>(classes, 2)));
  DeviceArray<float> gpu_logits(logits);
  DeviceArray<std::int32_t> gpu_labels(labels), rivals(wanted), active(std::vector<std::int32_t>{active_rows});
  cuda::DeviceStream stream{nullptr, active.data()};
  for (Index rank = 0; rank < std::max<Index>(classes - 1, 1); ++rank) {
    cuda::table().rank_rivals(&stream, rows,
                              {classes, 1, gpu_logits.data(), ld, gpu_labels.data(), rivals.data(), rank});
    tables().front()->rank_rivals(nullptr, std::min<Index>(rows, active_rows),
                                  {classes, 1, logits.data(), ld, labels.data(), wanted.data(), rank});
    CHECK(rivals.host() == wanted);
  }
}

void test_newton_fool(Index classes) {
  Twin<float> loss(floats(kRows, 1, 0, 5)), slope(floats(kRows, 2, 0, 2)), length(floats(kRows, 3, 0, 9)),
      size(floats(kRows, 4));
  on_both([&](bool d, const Kernels& k, Stream s, Index rows) {
    k.newton_fool(s, rows, {classes, loss.on(d), slope.on(d), length.on(d), 0.01f, size.on(d)});
  });
  CHECK(all_near(size.gpu.host(), size.cpu, 1e-5));
  CHECK(size.cpu.back() == floats(kRows, 4).back());
}

// Answers follow from the row and the round, so that both tables get the same.
void test_pointwise(Index n, bool refine) {
  const Index ld = n + 3;
  Twin<float> x0(floats(kRows * ld, 1, 0, 1)), point(floats(kRows * ld, 2, 0, 1)), x(point.cpu);
  const auto flags = [](int round) {
    std::vector<std::uint8_t> f;
    for (Index r = 0; r < kRows; ++r) f.push_back((round * 7 + r * 3) % 5 < 2);
    return f;
  };
  const std::vector<std::uint8_t> zeros(kRows, 0), ones(kRows, 1);
  Twin<std::uint8_t> asked(zeros), unasked(ones), busy(zeros);
  Twin<Index> ids({11, 3, 70, 5, 9});
  Twin<std::int32_t> order(std::vector<std::int32_t>(kRows * n, -1));
  Twin<PointwiseState> state{std::vector<PointwiseState>(kRows)};
  for (int round = 0; round < 60; ++round) {
    Twin<std::uint8_t> adversarial(flags(round));
    on_both([&](bool d, const Kernels& k, Stream s, Index rows) {
      PointwiseRows a;
      a.features = n, a.ld = ld, a.seed = 4, a.passes = 3, a.refine = refine;
      a.x0 = x0.on(d), a.point = point.on(d), a.x = x.on(d), a.ids = ids.on(d);
      a.unasked = round == 0 ? nullptr : round < 50 ? asked.on(d) : unasked.on(d), a.adversarial = adversarial.on(d);
      a.order = order.on(d), a.state = state.on(d), a.busy = busy.on(d);
      k.pointwise(s, rows, a);
    });
  }
  CHECK(point.same() && x.same() && order.same() && busy.same());
  CHECK(order.cpu.back() == -1 && std::count(busy.cpu.begin(), busy.cpu.end(), 1) == 0);
}

}  // namespace

int main() {
  for (const Index n : kSizes) {
    for (const Norm norm : {Norm::linf, Norm::l2, Norm::l1, Norm::l0}) {
      test_reach(norm, n);
      if (norm != Norm::l0) test_hyperplane(norm, n);
    }
    test_searches_and_steps(n);
    test_lbfgs(n);
    for (const bool refine : {false, true}) test_pointwise(n, refine);
    for (const bool increase : {false, true}) {
      test_saliency(n, increase);
      test_rounds(n, increase);
      test_freeze(n, increase);
      test_flip(n, increase);
    }
  }
  test_freeze(300, true);
  test_lbfgs(300);
  test_hyperplane(Norm::l1, 300);  // more than a block's threads
  test_saliency(300, true);
  for (const Index classes : {1, 2, 3, 10}) test_planes(classes);
  for (const Index n : kSizes)
    for (const Index classes : {1, 2, 10}) test_ranks(n, classes, n < 20 ? 1000 : 5);
  for (const Index classes : {1, 2, 10}) test_newton_fool(classes);
  test_radii();
  for (const bool targeted : {false, true}) test_decisions(targeted);
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
