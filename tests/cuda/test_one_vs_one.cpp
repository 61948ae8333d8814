// Votes of pairs of the emulated GPU: the CPU's bits.
#include "launch.cuh"

#include <algorithm>

#include "check.h"
#include "cpu.h"
#include "device_array.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

void test_one_vs_one(Index rows, Index classes, std::int32_t active_rows) {
  const Index ldx = classes * (classes - 1) / 2 + 1, ldy = classes + 2;
  const auto x = uniform_floats(rows * ldx, static_cast<unsigned>(classes), -2.0f, 2.0f, 0.2f);
  const auto dy = uniform_floats(rows * ldy, 3, -1.0f, 1.0f);
  DeviceArray<float> gpu_x(x), y(std::vector<float>(rows * ldy, 7.0f)), gpu_dy(dy),
      dx(std::vector<float>(rows * ldx, 7.0f));
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{active_rows});
  cuda::DeviceStream stream{nullptr, active.data()};
  const OneVsOneRows a{rows, classes, gpu_x.data(), ldx, y.data(), ldy, gpu_dy.data(), ldy, dx.data(), ldx};
  cuda::table().one_vs_one_forward(&stream, a);
  cuda::table().one_vs_one_backward(&stream, a);
  for (const Kernels* cpu : tables()) {
    std::vector<float> wanted(rows * ldy, 7.0f), gradient(rows * ldx, 7.0f);
    const Index some = std::min<Index>(rows, active_rows);
    const OneVsOneRows c{some, classes, x.data(), ldx, wanted.data(), ldy, dy.data(), ldy, gradient.data(), ldx};
    cpu->one_vs_one_forward(nullptr, c);
    cpu->one_vs_one_backward(nullptr, c);
    CHECK(same_bits(y.host(), wanted));
    CHECK(same_bits(dx.host(), gradient));
  }
}

}  // namespace

int main() {
  for (const Index size : kSizes) {
    if (size > 1) test_one_vs_one(3, size, 3);
    test_one_vs_one(size, 10, 4);  // rows that have left are left alone
  }
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
