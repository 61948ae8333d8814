// Parameter updates of the emulated GPU: the bits of the CPU's tables that fuse, near those of the scalar one.
#include "launch.cuh"

#include "check.h"
#include "cpu.h"
#include "device_array.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

struct State {
  std::vector<float> parameter, moment1, moment2;
};

Update update(bool decay, float momentum, bool nesterov) {
  Update u;
  u.rate = 0.1f;
  u.momentum = momentum;
  u.nesterov = nesterov;
  u.beta1 = 0.9f;
  u.beta2 = 0.999f;
  u.epsilon = 1e-8f;
  u.correction.first = 0.19f;
  u.correction.second = 0.001999f;
  u.l2 = decay ? 0.01f : 0.0f;
  u.l1 = decay ? 0.02f : 0.0f;
  u.decay = decay ? 0.03f : 0.0f;
  u.scale = decay ? 0.7f : 1.0f;
  return u;
}

using Rule = void (*)(Stream, const Update&);

// Two steps with one gradient; the stream's count of active rows is none of theirs.
void test_rule(Rule Kernels::* rule, Update u, Index count) {
  const State before{uniform_floats(count, 1, -1.0f, 1.0f, 0.2f), uniform_floats(count, 2, -1.0f, 1.0f),
                     uniform_floats(count, 3, 0.0f, 1.0f, 0.2f)};
  const auto gradient = uniform_floats(count, 4, -1.0f, 1.0f, 0.2f);
  DeviceArray<float> parameter(before.parameter), moment1(before.moment1), moment2(before.moment2), slope(gradient);
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{1});
  cuda::DeviceStream stream{nullptr, active.data()};
  u.count = count;
  Update g = u;
  g.parameter = parameter.data(), g.moment1 = moment1.data(), g.moment2 = moment2.data(), g.gradient = slope.data();
  for (int step = 0; step < 2; ++step) (cuda::table().*rule)(&stream, g);
  for (const Kernels* cpu : tables()) {
    State s = before;
    Update c = u;
    c.parameter = s.parameter.data(), c.moment1 = s.moment1.data(), c.moment2 = s.moment2.data();
    c.gradient = gradient.data();
    for (int step = 0; step < 2; ++step) (cpu->*rule)(nullptr, c);
    const auto same = [&](const std::vector<float>& got, const std::vector<float>& wanted) {
      return fuses(*cpu) ? same_bits(got, wanted) : all_near(got, wanted, 8 * 0x1p-24);  // a rounding per operation
    };
    CHECK(same(parameter.host(), s.parameter));
    CHECK(same(moment1.host(), s.moment1));
    CHECK(same(moment2.host(), s.moment2));
  }
}

// The sum is one of doubles in another order.
void test_sum_squares(Index count) {
  const auto x = uniform_floats(count, 5, -1.0f, 1.0f, 0.2f);
  DeviceArray<float> values(x);
  double wanted = 0.0;
  for (const float v : x) wanted += static_cast<double>(v) * static_cast<double>(v);
  const auto near = [&](double got) { return std::fabs(got - wanted) <= 1e-13 * wanted; };
  CHECK(near(cuda::table().sum_squares(nullptr, count, values.data())));
  for (const Kernels* cpu : tables()) CHECK(near(cpu->sum_squares(nullptr, count, x.data())));
}

// Rows that are too long get the length `most`, the others keep their bits.
void test_limit_norms(Index n) {
  constexpr Index kRows = 5;
  const float most = 0.5f * std::sqrt(static_cast<float>(n) / 3.0f);
  auto x = uniform_floats(kRows * n, 6, -1.0f, 1.0f, 0.2f);
  for (Index i = 0; i < n; ++i) x[i] *= 0.01f;
  DeviceArray<float> values(x);
  cuda::table().limit_norms(nullptr, kRows, n, values.data(), most);
  const auto check = [&](const std::vector<float>& got) {
    for (Index r = 0; r < kRows; ++r) {
      double before = 0.0, after = 0.0;
      for (Index i = r * n; i < (r + 1) * n; ++i) {
        before += static_cast<double>(x[i]) * static_cast<double>(x[i]);
        after += static_cast<double>(got[i]) * static_cast<double>(got[i]);
      }
      const bool shortened = std::sqrt(before) > static_cast<double>(most);
      if (!shortened) CHECK(same_bits(&got[r * n], &x[r * n], n));
      if (shortened) CHECK(std::fabs(std::sqrt(after) - static_cast<double>(most)) <= 2e-7 * static_cast<double>(most));
    }
  };
  check(values.host());
  for (const Kernels* cpu : tables()) {
    auto got = x;
    cpu->limit_norms(nullptr, kRows, n, got.data(), most);
    check(got);
  }
}

void test_blend(Index count) {
  const auto from = uniform_floats(count, 7, -1.0f, 1.0f), to = uniform_floats(count, 8, -1.0f, 1.0f);
  DeviceArray<float> source(from), target(to);
  cuda::table().blend(nullptr, count, 0.3f, source.data(), target.data());
  for (const Kernels* cpu : tables()) {
    auto wanted = to;
    cpu->blend(nullptr, count, 0.3f, from.data(), wanted.data());
    CHECK(fuses(*cpu) ? same_bits(target.host(), wanted) : all_near(target.host(), wanted, 2 * 0x1p-24));
  }
}

}  // namespace

int main() {
  for (const Index count : kSizes) {
    test_sum_squares(count);
    test_limit_norms(count);
    test_blend(count);
  }
  test_sum_squares(5000);
  for (const Index count : kSizes)
    for (const bool decay : {false, true}) {
      test_rule(&Kernels::sgd, update(decay, 0.0f, false), count);
      test_rule(&Kernels::sgd, update(decay, 0.9f, false), count);
      test_rule(&Kernels::sgd, update(decay, 0.9f, true), count);
      test_rule(&Kernels::adam, update(decay, 0.0f, false), count);
    }
  test_rule(&Kernels::adam, update(true, 0.0f, false), 1000);  // several blocks
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
