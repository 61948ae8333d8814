// Filters and smaller images of the emulated GPU: the bits of the CPU's tables that fuse, and near the scalar one's.
#include "launch.cuh"

#include "attacks/resize_row.h"
#include "check.h"
#include "cpu.h"
#include "device_array.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr Index kRows = 3;

struct Shape {
  Index channels, height, width;
};

bool same(const Kernels& cpu, const std::vector<float>& got, const std::vector<float>& wanted) {
  return fuses(cpu) ? same_bits(got, wanted) : all_near(got, wanted, 64 * 0x1p-24);
}

void test_blur(const Shape& s, Index count, std::int32_t active_rows) {
  const Index ld = s.channels * s.height * s.width + 3;
  const auto taps = uniform_floats(count, 5, -1, 1), x = uniform_floats(kRows * ld, 6, -1, 1);
  const std::vector<float> before(x.size(), 7.0f);
  DeviceArray<float> gpu_taps(taps), gpu_x(x), between(before), out(before);
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{active_rows});
  cuda::DeviceStream stream{nullptr, active.data()};
  BlurRows a{kRows, s.channels,   s.height,       s.width,    gpu_taps.data(),
             count, gpu_x.data(), between.data(), out.data(), ld};
  cuda::table().blur(&stream, a);
  const auto got = out.host();
  a.out = gpu_x.data();
  cuda::table().blur(&stream, a);
  const auto in_place = gpu_x.host();
  for (Index r = 0; r < active_rows; ++r) CHECK(same_bits(&in_place[r * ld], &got[r * ld], ld - 3));
  for (const Kernels* cpu : tables()) {
    auto wanted = before, scratch = before;
    cpu->blur(nullptr, {active_rows, s.channels, s.height, s.width, taps.data(), count, x.data(), scratch.data(),
                        wanted.data(), ld});
    CHECK(same(*cpu, got, wanted));
  }
}

void test_resize(const Shape& s, Index least, double chance, bool gradient, std::int32_t active_rows) {
  const Index ld = s.channels * s.height * s.width + 3;
  const auto x = uniform_floats(kRows * ld, 8, -1, 1);
  const std::vector<float> before(x.size(), 7.0f);
  const std::vector<Index> ids = {4, 0, Index{1} << 40};
  const std::uint32_t draw = 12;
  ResizeRows a;
  a.rows = kRows;
  a.channels = s.channels;
  a.height = s.height;
  a.width = s.width;
  a.least = least;
  a.chance = chance;
  a.gradient = gradient;
  a.ld = ld;
  a.seed = 77;
  a.more = 3;
  ResizeRows c = a;
  DeviceArray<float> gpu_x(x), between(before), out(before);
  DeviceArray<Index> gpu_ids(ids);
  DeviceArray<std::uint32_t> gpu_draw(std::vector<std::uint32_t>{draw});
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{active_rows});
  cuda::DeviceStream stream{nullptr, active.data()};
  a.x = gpu_x.data(), a.between = between.data(), a.out = out.data(), a.ids = gpu_ids.data(), a.draw = gpu_draw.data();
  cuda::table().resize(&stream, a);
  for (const Kernels* cpu : tables()) {
    auto wanted = before, scratch = before;
    c.rows = active_rows;
    c.x = x.data(), c.between = scratch.data(), c.out = wanted.data(), c.ids = ids.data(), c.draw = &draw;
    cpu->resize(nullptr, c);
    CHECK(same(*cpu, out.host(), wanted));
  }
}

}  // namespace

int main() {
  const Shape shapes[] = {{1, 1, 1}, {1, 1, 17}, {2, 9, 1}, {3, 5, 7}, {1, 28, 28}, {2, 16, 33}};
  for (const Shape& s : shapes)
    for (const std::int32_t active : {3, 2}) {
      for (const Index count : {Index{1}, Index{2}, Index{15}}) test_blur(s, count, active);
      for (const Index least : {Index{1}, s.width / 2 + 1, s.width})
        for (const double chance : {0.5, 1.0})
          for (const bool gradient : {false, true}) test_resize(s, least, chance, gradient, active);
    }
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
