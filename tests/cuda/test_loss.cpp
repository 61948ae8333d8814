// Losses of the emulated GPU: the bits of the CPU's tables that fuse and near the scalar one's, for every loss, hard
// and soft labels, with gradients or without.
#include "launch.cuh"

#include "check.h"
#include "cpu.h"
#include "device_array.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr Loss kLosses[] = {Loss::cross_entropy,  Loss::margin, Loss::squared_error, Loss::confidence,   Loss::hinge,
                            Loss::crammer_singer, Loss::logit,  Loss::dlr,           Loss::dlr_targeted, Loss::jitter};

struct Case {
  Loss kind = Loss::cross_entropy;
  Index rows = 0, classes = 0;
  bool soft = false, unit = false;
  float scale = 1.0f;
};

struct Results {
  std::vector<float> loss, dlogits, log_size;
  std::vector<std::int32_t> predicted;
};

Index stride(const Case& c) { return c.classes + 3; }

std::vector<float> logits_of(const Case& c) {
  // Confidences are at most 0; elsewhere margins, ties and large logits occur.
  auto z = c.kind == Loss::confidence ? uniform_floats(c.rows * stride(c), 3, -5.0f, 0.0f, 0.1f)
                                      : uniform_floats(c.rows * stride(c), 3, -3.0f, 3.0f, 0.1f);
  if (c.kind != Loss::confidence)
    for (std::size_t i = 0; i < z.size(); i += 17) z[i] *= 30.0f;
  return z;
}

std::vector<std::int32_t> labels_of(const Case& c) {
  std::vector<std::int32_t> labels;
  const Index kinds = c.classes == 1 ? 2 : c.classes;
  for (Index r = 0; r < c.rows; ++r) labels.push_back(static_cast<std::int32_t>(r * 7 % kinds));
  return labels;
}

// The class after the label; what other losses do not read.
std::vector<std::int32_t> rivals_of(const Case& c) {
  auto rivals = labels_of(c);
  for (auto& r : rivals) r = static_cast<std::int32_t>((r + 1) % c.classes);
  return rivals;
}

// Those that know no soft labels.
bool is_hard(Loss kind) { return kind == Loss::jitter; }

bool is_ratio(Loss kind) { return kind == Loss::dlr || kind == Loss::dlr_targeted; }

LossRows descriptor(const Case& c) {
  LossRows a;
  a.kind = c.kind;
  a.rows = c.rows;
  a.classes = c.classes;
  a.ld = a.targets_ld = a.dlogits_ld = a.noise_ld = stride(c);
  a.noise_size = 0.2f;
  a.scale = c.scale;
  a.unit = c.unit;
  return a;
}

Results on_cpu(const Kernels& cpu, const Case& c, const std::vector<float>& z, bool gradient) {
  const auto labels = labels_of(c), rivals = rivals_of(c);
  const auto targets = uniform_floats(c.rows * stride(c), 4, 0.0f, 1.0f, 0.3f);
  Results out{std::vector<float>(c.rows), std::vector<float>(c.rows * stride(c), 7.0f), std::vector<float>(c.rows),
              std::vector<std::int32_t>(c.rows)};
  const auto noise = uniform_floats(c.rows * stride(c), 5, -1.0f, 1.0f);
  LossRows a = descriptor(c);
  a.logits = z.data();
  a.labels = c.soft ? nullptr : labels.data();
  a.rivals = rivals.data();
  a.targets = targets.data();
  a.noise = noise.data();
  a.log_size = out.log_size.data();
  a.loss = out.loss.data();
  a.predicted = out.predicted.data();
  a.dlogits = gradient ? out.dlogits.data() : nullptr;
  cpu.loss(nullptr, a);
  return out;
}

Results on_gpu(const Case& c, const std::vector<float>& z, bool gradient, Stream stream = nullptr) {
  DeviceArray<float> logits(z), targets(uniform_floats(c.rows * stride(c), 4, 0.0f, 1.0f, 0.3f)),
      noise(uniform_floats(c.rows * stride(c), 5, -1.0f, 1.0f)), loss(std::vector<float>(c.rows, -1.0f)),
      log_size(std::vector<float>(c.rows, -1.0f)), dlogits(std::vector<float>(c.rows * stride(c), 7.0f));
  DeviceArray<std::int32_t> labels(labels_of(c)), rivals(rivals_of(c)),
      predicted(std::vector<std::int32_t>(c.rows, -1));
  LossRows a = descriptor(c);
  a.logits = logits.data();
  a.labels = c.soft ? nullptr : labels.data();
  a.rivals = rivals.data();
  a.targets = targets.data();
  a.noise = noise.data();
  a.log_size = log_size.data();
  a.loss = loss.data();
  a.predicted = predicted.data();
  a.dlogits = gradient ? dlogits.data() : nullptr;
  cuda::table().loss(stream, a);
  return {loss.host(), dlogits.host(), log_size.host(), predicted.host()};
}

void test_loss(const Kernels& cpu, const Case& c) {
  const auto z = logits_of(c);
  const Results wanted = on_cpu(cpu, c, z, true), got = on_gpu(c, z, true);
  CHECK(got.predicted == wanted.predicted);
  if (fuses(cpu)) {
    CHECK(same_bits(got.loss, wanted.loss));
    CHECK(same_bits(got.dlogits, wanted.dlogits));
    CHECK(same_bits(got.log_size, wanted.log_size));
  } else {  // a formula's dozen operations, and a sum's; jitter's exponentials are of up to 20, and multiply roundings
    const Index formula = c.kind == Loss::jitter ? 128 : 16;
    const double tolerance = static_cast<double>(c.classes + formula) * 0x1p-23;
    CHECK(all_near(got.loss, wanted.loss, tolerance));
    CHECK(all_near(got.dlogits, wanted.dlogits, tolerance));
    CHECK(all_near(got.log_size, wanted.log_size, tolerance));
  }
  const Results without = on_gpu(c, z, false);
  CHECK(same_bits(without.loss, got.loss) && without.predicted == got.predicted);
  CHECK(without.dlogits == std::vector<float>(without.dlogits.size(), 7.0f));
}

void test_a_row_is_the_same_alone(Loss kind) {
  const bool soft = !is_ratio(kind) && !is_hard(kind);
  const Case batch{kind, 33, 10, soft, true, 1.0f}, alone{kind, 1, 10, soft, true, 1.0f};
  const auto z = logits_of(batch);
  const Results one = on_gpu(alone, std::vector<float>(z.begin(), z.begin() + stride(alone)), true);
  const Results all = on_gpu(batch, z, true);
  CHECK(same_bits(one.loss.data(), all.loss.data(), 1));
  CHECK(same_bits(one.dlogits.data(), all.dlogits.data(), batch.classes));
}

void test_a_logit_that_is_not_finite_shows() {
  for (const float bad : {NAN, HUGE_VALF, -HUGE_VALF}) {
    const Case c{Loss::margin, 3, 5, false, false, 1.0f};
    auto z = logits_of(c);
    z[stride(c) + 4] = bad;
    const Results got = on_gpu(c, z, true);
    CHECK(std::isfinite(got.loss[0]) && std::isnan(got.loss[1]) && std::isfinite(got.loss[2]));
  }
}

void test_rows_that_have_left_are_left_alone() {
  const Case c{Loss::cross_entropy, 37, 4, false, true, 1.0f};
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{5});
  cuda::DeviceStream stream{nullptr, active.data()};
  const auto z = logits_of(c);
  const Results some = on_gpu(c, z, true, &stream), all = on_gpu(c, z, true);
  CHECK(same_bits(some.loss.data(), all.loss.data(), 5));
  bool untouched = true;
  for (Index r = 5; r < c.rows; ++r) untouched &= some.loss[r] == -1.0f && some.predicted[r] == -1;
  for (Index i = 5 * stride(c); i < c.rows * stride(c); ++i) untouched &= some.dlogits[i] == 7.0f;
  CHECK(untouched);
}

}  // namespace

int main() {
  for (const Kernels* cpu : tables())
    for (const Loss kind : kLosses)
      for (const Index size : kSizes)
        for (const bool soft : {false, true})
          for (const bool unit : {false, true}) {
            if ((is_ratio(kind) && (soft || size < 4)) || (is_hard(kind) && soft)) continue;
            test_loss(*cpu, {kind, 5, size, soft, unit, -1.0f});
            test_loss(*cpu, {kind, size, size == 3 ? 1 : 10, soft, unit, 1.0f});
          }
  for (const Loss kind : kLosses) test_a_row_is_the_same_alone(kind);
  test_a_logit_that_is_not_finite_shows();
  test_rows_that_have_left_are_left_alone();
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
