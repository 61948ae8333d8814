// What minimum-norm and decision attacks decide per row on the emulated GPU: as on the CPU, rows that have left alone.
#include "launch.cuh"

#include <algorithm>

#include "attacks/ddn_row.h"
#include "attacks/decision_row.h"
#include "attacks/fab_row.h"
#include "attacks/fmn_row.h"
#include "attacks/newton_fool_row.h"
#include "attacks/planes_row.h"
#include "attacks/pointwise_row.h"
#include "check.h"
#include "twin.h"

using namespace epsball;
using namespace epsball::test;

namespace {

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
  Twin<float> farthest(floats(kRows, 1, 1, 9)), radius(floats(kRows, 2, 1, 4)), size(floats(kRows, 3)),
      best(floats(kRows, 4, 0, 3)), distance(floats(kRows, 5, 0, 2)), loss(floats(kRows, 6)),
      slope(floats(kRows, 7, 0, 1)), scale(floats(kRows, 8)), rest(floats(kRows, 9)), reached(floats(kRows, 10)),
      ddn_size({0.5f});
  Twin<FmnStep> step({{0.05f, 0.25f}});
  for (const bool targeted : {false, true})
    for (const bool count : {false, true})
      on_both([&](bool d, const Kernels& k, Stream s, Index rows) {
        k.ddn(
            s, rows,
            {predicted.on(d), labels.on(d), farthest.on(d), targeted, 0.05f, ddn_size.on(d), radius.on(d), size.on(d)});
        k.sphere(s, rows, {radius.on(d), distance.on(d), scale.on(d), rest.on(d)});
        FmnRows f{predicted.on(d), labels.on(d), slot.on(d),     success.on(d), best.on(d), distance.on(d),
                  loss.on(d),      slope.on(d),  farthest.on(d), targeted,      count};
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

// Questions and answers, cuts, samples, leaps and walks of attacks that learn labels only, over several rounds.
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
      k.decision_ask(s, rows, {round < 2 ? waiting.on(d) : nullptr, slot.on(d), 35, queries.on(d), unasked.on(d)});
      k.decision_answer(s, rows,
                        {kRows, nullptr, predicted.on(d), losses.on(d), labels.on(d), slot.on(d), unasked.on(d),
                         targeted, adversarial.on(d), broken.on(d)});
      k.decision_begin(s, rows, {adversarial.on(d), waiting.on(d)});
      k.decision_cut(s, rows,
                     {round == 0 ? nullptr : unasked.on(d), adversarial.on(d), distance.on(d), low.on(d), high.on(d),
                      middle.on(d), rest.on(d), radius.on(d)});
      NearestRows n{waiting.on(d), slot.on(d), distance.on(d), queries.on(d), 35, best.on(d), success.on(d)};
      n.improved = improved.on(d), n.done = done.on(d), n.trace = trace.on(d), n.trace_ld = 2;
      k.decision_nearest(s, rows, n);
      k.decision_sample(s, rows, {unasked.on(d), adversarial.on(d), sign.on(d), ones.on(d), sum.on(d), count.on(d)});
      k.decision_baseline(s, rows, {sum.on(d), count.on(d), weight.on(d)});
      k.decision_leap(
          s, rows,
          {round == 0 ? nullptr : unasked.on(d), adversarial.on(d), distance.on(d), 0.5f, size.on(d), leaping.on(d)});
      k.decision_walk(s, rows,
                      {distance.on(d), round % 2 ? reached.on(d) : nullptr, orthogonal.on(d), towards.on(d), stay.on(d),
                       move.on(d)});
      AdaptRows a{unasked.on(d), adversarial.on(d), round % 2 == 0, distance.on(d),
                  reached.on(d), orthogonal.on(d),  towards.on(d)};
      a.asked = asked.on(d), a.passed = passed.on(d), a.improved = improved.on(d);
      k.decision_adapt(s, rows, a);
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
  for (const Index classes : {1, 2, 3, 10}) test_planes(classes);
  for (const Index n : kSizes)
    for (const Index classes : {1, 2, 10}) test_ranks(n, classes, n < 20 ? 1000 : 5);
  for (const Index classes : {1, 2, 10}) test_newton_fool(classes);
  for (const Index n : kSizes)
    for (const bool refine : {false, true}) test_pointwise(n, refine);
  test_radii();
  for (const bool targeted : {false, true}) test_decisions(targeted);
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
