// Maxout of the emulated GPU: the CPU's bits, ties and NaN included.
#include "launch.cuh"

#include <algorithm>

#include "check.h"
#include "cpu.h"
#include "device_array.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

void test_maxout(Index rows, Index units, Index pieces, std::int32_t active_rows) {
  const Index ldx = units * pieces + 1, ldy = units + 2;
  auto x = uniform_floats(rows * ldx, static_cast<unsigned>(units), -1.0f, 1.0f, 0.5f);  // zeros tie
  if (units > 2) x[2] = NAN;
  const auto dy = uniform_floats(rows * ldy, 3, -1.0f, 1.0f);
  DeviceArray<float> gpu_x(x), y(std::vector<float>(rows * ldy, 7.0f)), gpu_dy(dy),
      dx(std::vector<float>(rows * ldx, 7.0f));
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{active_rows});
  cuda::DeviceStream stream{nullptr, active.data()};
  const MaxoutRows a{rows, units, pieces, gpu_x.data(), ldx, y.data(), ldy, gpu_dy.data(), ldy, dx.data(), ldx};
  cuda::table().maxout_forward(&stream, a);
  cuda::table().maxout_backward(&stream, a);
  for (const Kernels* cpu : tables()) {
    std::vector<float> wanted(rows * ldy, 7.0f), gradient(rows * ldx, 7.0f);
    const MaxoutRows c{std::min<Index>(rows, active_rows),
                       units,
                       pieces,
                       x.data(),
                       ldx,
                       wanted.data(),
                       ldy,
                       dy.data(),
                       ldy,
                       gradient.data(),
                       ldx};
    cpu->maxout_forward(nullptr, c);
    cpu->maxout_backward(nullptr, c);
    CHECK(all_near(y.host(), wanted, 0.0));  // a NaN is one whatever its bits
    CHECK(same_bits(dx.host(), gradient));
  }
}

}  // namespace

int main() {
  for (const Index units : kSizes)
    for (const Index pieces : {1, 2, 5}) {
      test_maxout(5, units, pieces, 5);
      test_maxout(units, 3, pieces, 4);  // rows that have left are left alone
    }
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
