// Losses of pairs and probabilities of the emulated GPU: the bits of the CPU's tables that fuse and near the scalar
// one's; weights of rows and temperatures of the plain losses too.
#include "launch.cuh"

#include "check.h"
#include "cpu.h"
#include "device_array.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr PairLoss kPairs[] = {PairLoss::none,      PairLoss::squared_distance, PairLoss::squared_size,
                               PairLoss::kl,        PairLoss::kl_constant,      PairLoss::mart,
                               PairLoss::worst_case};

struct Case {
  PairLoss kind = PairLoss::none;
  Index rows = 0, classes = 0;
  Index stride() const { return classes + 3; }
  std::vector<float> logits(int seed) const { return uniform_floats(rows * stride(), seed, -8.0f, 8.0f, 0.1f); }
  std::vector<std::int32_t> labels() const {
    std::vector<std::int32_t> y;
    for (Index r = 0; r < rows; ++r) y.push_back(static_cast<std::int32_t>(r * 7 % (classes == 1 ? 2 : classes)));
    return y;
  }
};

struct Results {
  std::vector<float> loss, da, db;
};

PairRows descriptor(const Case& c) {
  PairRows p;
  p.kind = c.kind;
  p.rows = c.rows;
  p.classes = c.classes;
  p.ld = p.d_ld = c.stride();
  p.coupling = 3.0f;
  p.scale = 0.5f;
  return p;
}

Results on_cpu(const Kernels& cpu, const Case& c) {
  const auto a = c.logits(3), b = c.logits(4);
  const auto y = c.labels();
  Results out{std::vector<float>(c.rows), c.logits(5), c.logits(6)};
  PairRows p = descriptor(c);
  p.a = a.data(), p.b = b.data(), p.labels = y.data();
  p.loss = out.loss.data(), p.da = out.da.data(), p.db = out.db.data();
  cpu.pair_loss(nullptr, p);
  return out;
}

Results on_gpu(const Case& c, Stream stream = nullptr) {
  DeviceArray<float> a(c.logits(3)), b(c.logits(4)), da(c.logits(5)), db(c.logits(6)),
      loss(std::vector<float>(c.rows, -1.0f));
  DeviceArray<std::int32_t> y(c.labels());
  PairRows p = descriptor(c);
  p.a = a.data(), p.b = b.data(), p.labels = y.data();
  p.loss = loss.data(), p.da = da.data(), p.db = db.data();
  cuda::table().pair_loss(stream, p);
  return {loss.host(), da.host(), db.host()};
}

void test_pair(const Case& c) {
  const Results got = on_gpu(c);
  for (const Kernels* cpu : tables()) {
    const Results wanted = on_cpu(*cpu, c);
    const auto same = [&](const std::vector<float>& x, const std::vector<float>& y) {
      // A formula's dozens of operations, and sums, on terms of up to 16 squared times the classes.
      return fuses(*cpu) ? same_bits(x, y) : all_near(x, y, static_cast<double>(c.classes + 32) * 0x1p-21);
    };
    CHECK(same(got.loss, wanted.loss));
    CHECK(same(got.da, wanted.da));
    CHECK(same(got.db, wanted.db));
  }
}

void test_rows_that_have_left_are_left_alone() {
  const Case c{PairLoss::kl, 9, 4};
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{2});
  cuda::DeviceStream stream{nullptr, active.data()};
  const Results some = on_gpu(c, &stream), all = on_gpu(c);
  CHECK(same_bits(some.db.data(), all.db.data(), 2 * c.stride()));
  const auto untouched = c.logits(6);
  CHECK(same_bits(&some.db[2 * c.stride()], &untouched[2 * c.stride()], 7 * c.stride()));
  CHECK(some.loss[2] == -1.0f);
}

void test_softmax(Index rows, Index classes) {
  const Case c{PairLoss::none, rows, classes};
  const auto z = c.logits(7);
  DeviceArray<float> logits(z), p(std::vector<float>(rows * classes, 7.0f));
  cuda::table().softmax(nullptr, rows, classes, logits.data(), c.stride(), p.data(), classes);
  for (const Kernels* cpu : tables()) {
    std::vector<float> wanted(rows * classes);
    cpu->softmax(nullptr, rows, classes, z.data(), c.stride(), wanted.data(), classes);
    CHECK(fuses(*cpu) ? same_bits(p.host(), wanted) : all_near(p.host(), wanted, 32 * 0x1p-24));
  }
}

// A weight multiplies a row's loss and gradient; a sharpness of 2 is logits twice as large.
void test_weights_and_sharpness() {
  const Case c{PairLoss::none, 7, 4};
  auto z = c.logits(8), doubled = z;
  for (float& v : doubled) v *= 2.0f;
  const std::vector<float> weights{0.0f, 1.0f, 2.0f, 0.5f, 0.0f, 4.0f, 1.0f};
  const auto run = [&](const std::vector<float>& values, float sharpness, const std::vector<float>* w) {
    DeviceArray<float> logits(values), weight(w ? *w : weights), loss(std::vector<float>(c.rows)),
        dlogits(std::vector<float>(c.rows * c.stride()));
    DeviceArray<std::int32_t> y(c.labels()), predicted(std::vector<std::int32_t>(c.rows));
    LossRows a;
    a.rows = c.rows, a.classes = c.classes, a.ld = a.dlogits_ld = c.stride();
    a.logits = logits.data(), a.labels = y.data(), a.sharpness = sharpness, a.weights = w ? weight.data() : nullptr;
    a.loss = loss.data(), a.dlogits = dlogits.data(), a.predicted = predicted.data();
    cuda::table().loss(nullptr, a);
    return Results{loss.host(), dlogits.host(), {}};
  };
  const Results plain = run(z, 1.0f, nullptr), weighted = run(z, 1.0f, &weights);
  const Results sharp = run(z, 2.0f, nullptr), larger = run(doubled, 1.0f, nullptr);
  bool ok = true;
  for (Index r = 0; r < c.rows; ++r) {
    ok &= weighted.loss[r] == weights[r] * plain.loss[r] && sharp.loss[r] == larger.loss[r];
    for (Index i = r * c.stride(); i < r * c.stride() + c.classes; ++i)
      ok &= weighted.da[i] == weights[r] * plain.da[i] && sharp.da[i] == 2.0f * larger.da[i];
  }
  CHECK(ok);
}

}  // namespace

int main() {
  for (const PairLoss kind : kPairs)
    for (const Index size : kSizes) {
      test_pair({kind, 5, size});
      test_pair({kind, size, size == 3 ? 1 : 10});
    }
  for (const Index size : kSizes) {
    test_softmax(5, size);
    test_softmax(size, size == 3 ? 1 : 10);
  }
  test_rows_that_have_left_are_left_alone();
  test_weights_and_sharpness();
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
