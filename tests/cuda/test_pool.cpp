// Pooling of the emulated GPU: the bits of the CPU's scalar table, which adds in the same order, for windows that tile,
// overlap, leave gaps and reach over the border, with ties and NaN among the inputs.
#include "launch.cuh"

#include "check.h"
#include "device_array.h"
#include "dispatch.h"
#include "guarded.h"
#include "layers/window.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr Index kGap = 3;

struct PoolCase {
  Window w;
  Index channels, rows;

  Index in() const { return w.down.in * w.across.in * channels; }
  Index out() const { return w.down.out() * w.across.out() * channels; }
  Index in_floats() const { return rows * (in() + kGap); }
  Index out_floats() const { return rows * (out() + kGap); }
  Pool pool(PoolKind kind) const {
    Pool p;
    p.kind = kind;
    p.rows = rows;
    p.in_height = w.down.in, p.in_width = w.across.in;
    p.out_height = w.down.out(), p.out_width = w.across.out();
    p.channels = channels;
    p.taps = w.taps();
    p.tiled = w.tiles();
    p.ldx = p.lddx = in() + kGap;
    p.ldy = p.lddy = out() + kGap;
    return p;
  }
};

// A few different values, so that maxima are shared.
std::vector<float> coarse(Index count, unsigned seed) {
  std::vector<float> values = uniform_floats(count, seed, -3, 3);
  for (float& v : values) v = std::round(v);
  return values;
}

struct Result {
  std::vector<float> y, dx;
};

Result on_cpu(const PoolCase& c, Pool p, const std::vector<float>& x, const std::vector<float>& dy) {
  const std::vector<Taps> down = c.w.down.forward(), across = c.w.across.forward();
  Result r{std::vector<float>(dy.size(), 9.0f), std::vector<float>(x.size(), 9.0f)};
  p.down = down.data(), p.across = across.data();
  p.x = x.data(), p.y = r.y.data(), p.dy = dy.data(), p.dx = r.dx.data();
  const Kernels& scalar = *tables().front();
  scalar.pool_forward(nullptr, p);
  scalar.pool_backward(nullptr, p);
  return r;
}

Result on_gpu(const PoolCase& c, Pool p, const std::vector<float>& x, const std::vector<float>& dy,
              Stream stream = nullptr) {
  DeviceArray<Taps> down(c.w.down.forward()), across(c.w.across.forward());
  DeviceArray<float> x_gpu(x), dy_gpu(dy), y(std::vector<float>(dy.size(), 9.0f));
  DeviceArray<float> dx(std::vector<float>(x.size(), 9.0f));
  p.down = down.data(), p.across = across.data();
  p.x = x_gpu.data(), p.y = y.data(), p.dy = dy_gpu.data(), p.dx = dx.data();
  cuda::table().pool_forward(stream, p);
  cuda::table().pool_backward(stream, p);
  return {y.host(), dx.host()};
}

void test_pool(const PoolCase& c, PoolKind kind, ActivationSpec derivative, bool with_nan) {
  std::vector<float> x = coarse(c.in_floats(), 8);
  if (with_nan)
    for (std::size_t i = 0; i < x.size(); i += 5) x[i] = std::nanf("");
  const std::vector<float> dy = uniform_floats(c.out_floats(), 9, -1, 1);
  Pool p = c.pool(kind);
  p.derivative = derivative;
  const Result wanted = on_cpu(c, p, x, dy), got = on_gpu(c, p, x, dy);
  CHECK(same_bits(got.y, wanted.y));
  CHECK(same_bits(got.dx, wanted.dx));
}

// The sum of a maximum's gradients is that of dy where every window has an input.
void test_maximum_hands_all_down() {
  const PoolCase c{{{7, 3, 2, 1}, {6, 3, 1, 1}}, 3, 2};
  const std::vector<float> x = coarse(c.in_floats(), 1);
  const std::vector<float> dy(static_cast<std::size_t>(c.out_floats()), 1.0f);
  const Result got = on_gpu(c, c.pool(PoolKind::max), x, dy);
  for (Index r = 0; r < c.rows; ++r) {
    double sum = 0.0;
    for (Index i = 0; i < c.in(); ++i) sum += got.dx[r * (c.in() + kGap) + i];
    CHECK(sum == static_cast<double>(c.out()));
  }
}

// Rows that are done are left alone; the others do not notice.
void test_active(const PoolCase& c) {
  const std::vector<float> x = coarse(c.in_floats(), 2), dy = uniform_floats(c.out_floats(), 3, -1, 1);
  const Index rows = c.rows - 2;
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{static_cast<std::int32_t>(rows)});
  cuda::DeviceStream stream{nullptr, active.data()};
  const Pool p = c.pool(PoolKind::max);
  const Result whole = on_gpu(c, p, x, dy), some = on_gpu(c, p, x, dy, &stream);
  CHECK(same_bits(whole.y.data(), some.y.data(), rows * p.ldy));
  CHECK(same_bits(whole.dx.data(), some.dx.data(), rows * p.ldx));
  bool left = true;
  for (Index i = rows * p.ldy; i < c.out_floats(); ++i) left &= some.y[i] == 9.0f;
  for (Index i = rows * p.ldx; i < c.in_floats(); ++i) left &= some.dx[i] == 9.0f;
  CHECK(left);
}

}  // namespace

int main() {
  // Axes: size, kernel, stride, padding.
  const Window windows[] = {
      {{1, 1, 1, 0}, {1, 1, 1, 0}}, {{4, 2, 2, 0}, {6, 3, 3, 0}}, {{1, 3, 1, 1}, {1, 3, 1, 1}},
      {{4, 4, 1, 0}, {3, 3, 1, 0}}, {{7, 2, 3, 0}, {8, 2, 3, 0}}, {{7, 4, 2, 1}, {6, 4, 2, 1}},
      {{5, 2, 1, 0}, {9, 5, 3, 2}}, {{3, 1, 9, 0}, {3, 2, 1, 1}}, {{2, 2, 1, 3}, {3, 2, 2, 3}},
  };
  for (const Window& w : windows)
    for (const PoolKind kind : {PoolKind::max, PoolKind::average})
      for (const Index channels : {1, 3, 17, 33})
        for (const Index rows : {1, 9})
          for (const bool with_nan : {false, true}) {
            const PoolCase c{w, channels, rows};
            test_pool(c, kind, {}, with_nan);
            if (w.tiles()) test_pool(c, kind, {Activation::relu, 0.0f}, with_nan);
            if (w.tiles()) test_pool(c, kind, {Activation::leaky_relu, 0.25f}, with_nan);
          }
  test_maximum_hands_all_down();
  test_active({{{4, 2, 2, 0}, {6, 3, 3, 0}}, 5, 9});
  test_active({{{7, 4, 2, 1}, {6, 4, 2, 1}}, 5, 9});
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
