// Reductions of the emulated GPU: near sums in double within what their order may lose, over no more rows than are
// active; a NaN is found wherever it stands.
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
constexpr Index kGap = 3;

const Kernels& gpu() { return cuda::table(); }

void test_all_finite(Index n) {
  const std::vector<float> x = uniform_floats(n, 8, -1.5e38f, 1.5e38f);
  DeviceArray<float> good(x);
  CHECK(gpu().all_finite(nullptr, n, good.data()));
  for (const float bad : {std::nanf(""), INFINITY, -INFINITY})
    for (const Index i : {Index{0}, n / 2, n - 1}) {
      std::vector<float> values = x;
      values[i] = bad;
      DeviceArray<float> spoilt(values);
      CHECK(!gpu().all_finite(nullptr, n, spoilt.data()));
    }
}

// More values than the grid has threads.
void test_all_finite_of_many() {
  const Index n = 1024 * 256 + 300;
  std::vector<float> x(static_cast<std::size_t>(n), 1.0f);
  DeviceArray<float> good(x);
  CHECK(gpu().all_finite(nullptr, n, good.data()));
  x.back() = -INFINITY;
  DeviceArray<float> bad(x);
  CHECK(!gpu().all_finite(nullptr, n, bad.data()));
  CHECK(gpu().all_finite(nullptr, 0, bad.data()));
}

void test_all_inside(Index rows, Index n) {
  const std::vector<float> lo = uniform_floats(n, 1, -2, -1), hi = uniform_floats(n, 2, 1, 2);
  std::vector<float> x;
  for (Index i = 0; i < rows * n; ++i) x.push_back(i % 3 == 0 ? lo[i % n] : i % 3 == 1 ? hi[i % n] : 0.5f);
  DeviceArray<float> least(lo), most(hi), good(x);
  CHECK(gpu().all_inside(nullptr, rows, n, good.data(), least.data(), most.data()));
  for (const Index i : {Index{0}, rows * n / 2, rows * n - 1})
    for (const float bad : {std::nextafter(lo[i % n], -9.0f), std::nextafter(hi[i % n], 9.0f), std::nanf("")}) {
      std::vector<float> values = x;
      values[i] = bad;
      DeviceArray<float> spoilt(values);
      CHECK(!gpu().all_inside(nullptr, rows, n, spoilt.data(), least.data(), most.data()));
    }
}

void test_column_sums(Index rows, Index n) {
  const Index ld = n + kGap;
  const std::vector<float> x = uniform_floats(rows * ld, static_cast<unsigned>(rows + n), -1, 1);
  DeviceArray<float> x_gpu(x), sums(n);
  gpu().column_sums(nullptr, rows, n, x_gpu.data(), ld, sums.data());
  const std::vector<float> got = sums.host();
  bool ok = true;
  for (Index j = 0; j < n; ++j) {
    double sum = 0.0, size = 0.0;
    for (Index r = 0; r < rows; ++r) sum += x[r * ld + j], size += std::fabs(x[r * ld + j]);
    ok &= std::fabs(got[j] - sum) <= 1.01 * kU * static_cast<double>(rows) * size;
  }
  CHECK(ok);
}

// ---- channels ----

struct Sums {
  double sum = 0, size = 0, squares = 0, dy_sum = 0, dy_size = 0, product = 0, product_size = 0;
};

Sums in_double(const std::vector<float>& x, const std::vector<float>& dy, Index rows, Index pixels, Index channels,
               Index j, double center) {
  Sums s;
  const Index ld = pixels * channels + kGap;
  const auto for_values = [&](auto f) {
    for (Index r = 0; r < rows; ++r)
      for (Index p = 0; p < pixels; ++p)
        f(static_cast<double>(x[r * ld + p * channels + j]), static_cast<double>(dy[r * ld + p * channels + j]));
  };
  for_values([&](double v, double) { s.sum += v, s.size += std::fabs(v); });
  const double mean = s.sum / static_cast<double>(rows * pixels);
  for_values([&](double v, double d) {
    s.squares += (v - mean) * (v - mean);
    s.dy_sum += d, s.dy_size += std::fabs(d);
    s.product += d * (v - center), s.product_size += std::fabs(d * (v - center));
  });
  return s;
}

// `active` rows of them; one rounding where the sum is made in double, and what double itself loses.
void test_channels(Index rows, Index active, Index pixels, Index channels) {
  const Index ld = pixels * channels + kGap;
  const std::vector<float> x = uniform_floats(rows * ld, 1, -1, 1), dy = uniform_floats(rows * ld, 2, -1, 1);
  DeviceArray<float> x_gpu(x), dy_gpu(dy), sums(channels), mean(channels), variance(channels), dy_sums(channels);
  DeviceArray<float> products(channels);
  DeviceArray<std::int32_t> left(std::vector<std::int32_t>{static_cast<std::int32_t>(active)});
  cuda::DeviceStream stream{nullptr, left.data()};
  const Channels c{rows, pixels, channels, x_gpu.data(), ld};
  gpu().channel_sums(&stream, c, sums.data());
  gpu().channel_moments(&stream, c, mean.data(), variance.data());
  gpu().channel_products(&stream, c, mean.data(), dy_gpu.data(), ld, dy_sums.data(), products.data());
  const auto sum = sums.host(), center = mean.host(), spread = variance.host(), back = dy_sums.host();
  const auto product = products.host();
  const double n = static_cast<double>(active * pixels), slack = 0x1p-53 * 4 * n;
  bool ok = true;
  for (Index j = 0; j < channels; ++j) {
    const Sums s = in_double(x, dy, active, pixels, channels, j, static_cast<double>(center[j]));
    ok &= std::fabs(sum[j] - s.sum) <= 1.01 * kU * n * s.size;
    ok &= std::fabs(center[j] - s.sum / n) <= kU * std::fabs(s.sum / n) + slack * s.size / n;
    ok &= std::fabs(spread[j] - s.squares / n) <= kU * s.squares / n + slack * (1 + s.squares / n);
    ok &= std::fabs(back[j] - s.dy_sum) <= kU * std::fabs(s.dy_sum) + slack * s.dy_size;
    ok &= std::fabs(product[j] - s.product) <= kU * std::fabs(s.product) + slack * s.product_size;
  }
  CHECK(ok);
}

// The order of a sum is the same wherever its column stands, and whatever stands beside it.
void test_columns_do_not_depend_on_others() {
  const Index rows = 97, n = 65;
  const std::vector<float> x = uniform_floats(rows * n, 5, -1, 1);
  DeviceArray<float> x_gpu(x), all(n), one(1);
  gpu().column_sums(nullptr, rows, n, x_gpu.data(), n, all.data());
  for (const Index j : {0, 31, 33, 64}) {
    gpu().column_sums(nullptr, rows, 1, x_gpu.data() + j, n, one.data());
    CHECK(same_bits(one.host().data(), all.host().data() + j, 1));
  }
}

}  // namespace

int main() {
  for (const Index n : kSizes) test_all_finite(n);
  test_all_finite(1000);
  test_all_finite_of_many();
  for (const Index n : kSizes)
    for (const Index rows : {1, 3}) test_all_inside(rows, n);
  for (const Index rows : {1, 2, 31, 33, 97})
    for (const Index n : {1, 7, 32, 33, 65}) test_column_sums(rows, n);
  for (const Index channels : {1, 3, 17, 32, 65})
    for (const Index pixels : {1, 2, 5}) {
      for (const Index rows : {1, 2, 33}) test_channels(rows, rows, pixels, channels);
      test_channels(33, 20, pixels, channels);
    }
  test_columns_do_not_depend_on_others();
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
