// Square's next points on the emulated GPU: the CPU's bits, but for roundings where the scalar table does not fuse.
#include "launch.cuh"

#include "attacks/square_row.h"
#include "check.h"
#include "cpu.h"
#include "device_array.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr Index kRows = 3;

struct Shape {
  Index channels, height, width, tall, wide;
};

void test_square(Norm norm, const Shape& s, std::uint32_t number, std::int32_t active_rows) {
  const Index features = s.channels * s.height * s.width, ld = features + 3;
  const auto x0 = uniform_floats(kRows * ld, 1, 0, 1, 0.1f);
  auto x = x0, lo = x0, hi = x0;
  const auto moves = uniform_floats(kRows * ld, 2, -0.1f, 0.1f, 0.2f);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += moves[i], lo[i] -= 0.1f, hi[i] += 0.1f;
  const std::vector<float> eps = {0.1f, 0.7f, 1e-3f}, before(x.size(), 7.0f);
  const std::vector<Index> ids = {5, 0, Index{1} << 40};
  SquareRows a;
  a.norm = norm;
  a.rows = kRows;
  a.channels = s.channels;
  a.height = s.height;
  a.width = s.width;
  a.ld = ld;
  a.seed = 9;
  a.first = number == 0;
  SquareRows c = a;
  const SquareDraw draw{number, static_cast<std::int32_t>(s.tall), static_cast<std::int32_t>(s.wide)};
  DeviceArray<SquareDraw> gpu_draw(std::vector<SquareDraw>{draw});
  DeviceArray<float> gpu_x(x), gpu_x0(x0), gpu_lo(lo), gpu_hi(hi), gpu_eps(eps), out(before);
  DeviceArray<Index> gpu_ids(ids);
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{active_rows});
  cuda::DeviceStream stream{nullptr, active.data()};
  a.x = gpu_x.data(), a.x0 = gpu_x0.data(), a.lo = gpu_lo.data(), a.hi = gpu_hi.data();
  a.draw = gpu_draw.data(), a.eps = gpu_eps.data(), a.ids = gpu_ids.data(), a.out = out.data();
  cuda::table().square(&stream, a);
  const auto got = out.host();
  for (const Kernels* cpu : tables()) {
    auto wanted = before;
    c.rows = active_rows;
    c.x = x.data(), c.x0 = x0.data(), c.lo = lo.data(), c.hi = hi.data();
    c.draw = &draw, c.eps = eps.data(), c.ids = ids.data(), c.out = wanted.data();
    cpu->square(nullptr, c);
    CHECK(same_bits(got, wanted));
  }
  bool changed = false;
  for (Index i = 0; i < features; ++i) changed |= got[i] != x[i];
  CHECK(changed || norm == Norm::linf);  // a window may go where it was
}

}  // namespace

int main() {
  const Shape shapes[] = {{1, 1, 17, 1, 9}, {1, 7, 5, 3, 3}, {3, 10, 12, 5, 5}, {2, 31, 3, 7, 3}, {1, 1, 1, 1, 1}};
  for (const Norm norm : {Norm::linf, Norm::l2, Norm::l1})
    for (const Shape& s : shapes)
      for (const std::uint32_t number : {0u, 1u, 2u, 3u, 700u})
        for (const std::int32_t active : {3, 2}) test_square(norm, s, number, active);
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
