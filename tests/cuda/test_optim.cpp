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
  u.correction1 = 0.19f;
  u.correction2 = 0.001999f;
  u.l2 = decay ? 0.01f : 0.0f;
  u.l1 = decay ? 0.02f : 0.0f;
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

}  // namespace

int main() {
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
