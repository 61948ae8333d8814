// Scaling of channels on the emulated GPU: the bits of the CPU's tables that fuse, near a double oracle, with rows that
// are done left alone.
#include "launch.cuh"

#include "check.h"
#include "device_array.h"
#include "dispatch.h"
#include "guarded.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr double kU = 0x1p-24;
constexpr Index kRows = 9;

// Everything a scaling may read, on the host.
struct ScaleCase {
  Index channels, pixels, ld;
  std::vector<float> x, add, center, scale, shift, add_scale;

  ScaleCase(Index c, Index p)
      : channels(c),
        pixels(p),
        ld(c * p + 3),
        x(uniform_floats(kRows * ld, 1, -1, 1)),
        add(uniform_floats(kRows * ld, 2, -1, 1)),
        center(uniform_floats(c, 3, -1, 1)),
        scale(uniform_floats(c, 4, -2, 2)),
        shift(uniform_floats(c, 5, -1, 1)),
        add_scale(uniform_floats(c, 6, -2, 2)) {}
};

struct Result {
  std::vector<float> y, before;
};

// `all` of what is optional, or none of it.
ScaleChannels descriptor(const ScaleCase& c, bool all) {
  ScaleChannels s;
  s.rows = kRows, s.pixels = c.pixels, s.channels = c.channels;
  s.ldx = s.ldy = s.ld_add = c.ld;
  if (all) s.activation = {Activation::tanh, 0.0f};
  return s;
}

Result on_cpu(const Kernels& table, const ScaleCase& c, bool all) {
  Result r{std::vector<float>(c.x.size(), 9.0f), std::vector<float>(c.x.size(), 9.0f)};
  ScaleChannels s = descriptor(c, all);
  s.x = c.x.data(), s.scale = c.scale.data(), s.y = r.y.data();
  if (all) {
    s.center = c.center.data(), s.shift = c.shift.data();
    s.add = c.add.data(), s.add_scale = c.add_scale.data();
    s.pre_activation = r.before.data();
  }
  table.scale_channels(nullptr, s);
  return r;
}

Result on_gpu(const ScaleCase& c, bool all, Stream stream = nullptr) {
  DeviceArray<float> x(c.x), add(c.add), center(c.center), scale(c.scale), shift(c.shift), add_scale(c.add_scale);
  DeviceArray<float> y(std::vector<float>(c.x.size(), 9.0f)), before(std::vector<float>(c.x.size(), 9.0f));
  ScaleChannels s = descriptor(c, all);
  s.x = x.data(), s.scale = scale.data(), s.y = y.data();
  if (all) {
    s.center = center.data(), s.shift = shift.data();
    s.add = add.data(), s.add_scale = add_scale.data();
    s.pre_activation = before.data();
  }
  cuda::table().scale_channels(stream, s);
  return {y.host(), before.host()};
}

bool near_oracle(const ScaleCase& c, bool all, const std::vector<float>& got) {
  bool ok = true;
  for (Index r = 0; r < kRows; ++r)
    for (Index i = 0; i < c.channels * c.pixels; ++i) {
      const Index j = i % c.channels, at = r * c.ld + i;
      const double base = c.x[at] - (all ? static_cast<double>(c.center[j]) : 0.0), product = base * c.scale[j];
      const double rest = all ? c.shift[j] : 0.0, more = all ? c.add[at] * static_cast<double>(c.add_scale[j]) : 0.0;
      const double bound = 4 * kU * (std::fabs(product) + std::fabs(rest) + std::fabs(more));
      ok &= std::fabs(got[at] - (product + rest + more)) <= bound;
    }
  return ok;
}

void test_scale(Index channels, Index pixels) {
  const ScaleCase c(channels, pixels);
  for (const bool all : {false, true}) {
    const Result got = on_gpu(c, all);
    CHECK(near_oracle(c, all, all ? got.before : got.y));
    for (const Kernels* table : tables()) {
#ifdef __x86_64__
      if (table->lanes == 1) continue;  // rounds a product before it adds
#endif
      const Result wanted = on_cpu(*table, c, all);
      CHECK(same_bits(got.y, wanted.y) && same_bits(got.before, wanted.before));
    }
  }
}

void test_active() {
  const ScaleCase c(7, 5);
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{4});
  cuda::DeviceStream stream{nullptr, active.data()};
  const Result whole = on_gpu(c, true), some = on_gpu(c, true, &stream);
  CHECK(same_bits(whole.y.data(), some.y.data(), 4 * c.ld));
  bool left = true;
  for (Index i = 4 * c.ld; i < kRows * c.ld; ++i) left &= some.y[i] == 9.0f && some.before[i] == 9.0f;
  CHECK(left);
}

}  // namespace

int main() {
  for (const Index channels : kSizes)
    for (const Index pixels : {1, 2, 5}) test_scale(channels, pixels);
  test_active();
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
