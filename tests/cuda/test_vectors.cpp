// Rows as vectors on the emulated GPU: the CPU's results to the rounding of a float, and rows that have left left
// alone.
#include "launch.cuh"

#include "check.h"
#include "cpu.h"
#include "device_array.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr Index kRows = 3;
constexpr Norm kNorms[] = {Norm::linf, Norm::l2, Norm::l1, Norm::l0};

bool same_to_rounding(const std::vector<float>& a, const std::vector<float>& b) {
  bool ok = a.size() == b.size();
  for (std::size_t i = 0; ok && i < a.size(); ++i) ok = std::fabs(a[i] - b[i]) <= 0x1p-23f * std::fabs(b[i]);
  return ok;
}

void test_norms_and_products(Index n) {
  const Index ld = n + 3;
  const auto x = uniform_floats(kRows * ld, 1, -2, 3, 0.2f), y = uniform_floats(kRows * ld, 2, 0, 1, 0.2f);
  DeviceArray<float> dx(x), dy(y), out(kRows);
  for (const Kernels* cpu : tables()) {
    std::vector<float> wanted(kRows);
    for (const Norm norm : kNorms)
      for (const bool both : {false, true}) {
        cpu->row_norms(nullptr, {norm, kRows, n, x.data(), both ? y.data() : nullptr, ld, wanted.data()});
        cuda::table().row_norms(nullptr, {norm, kRows, n, dx.data(), both ? dy.data() : nullptr, ld, out.data()});
        CHECK(same_to_rounding(out.host(), wanted));
      }
    // Squares: sums without cancellation.
    cpu->row_dots(nullptr, kRows, n, x.data(), ld, x.data(), ld, wanted.data());
    cuda::table().row_dots(nullptr, kRows, n, dx.data(), ld, dx.data(), ld, out.data());
    CHECK(same_to_rounding(out.host(), wanted));
  }
}

std::vector<float> combined(Index n, Index ld, Stream stream) {
  const auto make = [&](unsigned seed) { return uniform_floats(kRows * ld, seed, -1, 1); };
  DeviceArray<float> a(make(3)), b(make(4)), by(uniform_floats(kRows, 6, -1, 1)), out(make(3));
  DeviceArray<float> lo(std::vector<float>(static_cast<std::size_t>(kRows * ld), -0.5f));
  DeviceArray<float> hi(std::vector<float>(static_cast<std::size_t>(kRows * ld), 0.25f));
  CombineRows args{kRows, n, 2, {{a.data(), ld, nullptr, 0.75f}, {b.data(), ld, by.data()}}, lo.data(), hi.data(), ld};
  args.out = out.data();
  args.ld = ld;
  cuda::table().combine(stream, args);
  return out.host();
}

void test_combinations(Index n) {
  const Index ld = n + 1;
  auto a = uniform_floats(kRows * ld, 3, -1, 1), b = uniform_floats(kRows * ld, 4, -1, 1), out = a;
  const auto by = uniform_floats(kRows, 6, -1, 1);
  const std::vector<float> lo(out.size(), -0.5f), hi(out.size(), 0.25f);
  for (const Kernels* cpu : tables()) {
    if (cpu->lanes == 1) continue;  // a baseline x86-64 does not fuse
    CombineRows args{kRows,     n,         2, {{a.data(), ld, nullptr, 0.75f}, {b.data(), ld, by.data()}},
                     lo.data(), hi.data(), ld};
    args.out = out.data();
    args.ld = ld;
    cpu->combine(nullptr, args);
    CHECK(same_bits(combined(n, ld, nullptr), out));
  }
}

void test_rows_that_have_left_are_left_alone() {
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{2});
  cuda::DeviceStream stream{nullptr, active.data()};
  const auto some = combined(17, 18, &stream), all = combined(17, 18, nullptr);
  const auto before = uniform_floats(kRows * 18, 3, -1, 1);
  CHECK(same_bits(some.data(), all.data(), 36) && same_bits(&some[36], &before[36], 18) && !same_bits(some, all));
}

}  // namespace

int main() {
  for (const Index n : kSizes) {
    test_norms_and_products(n);
    test_combinations(n);
  }
  test_norms_and_products(500);  // more than a block's threads
  test_rows_that_have_left_are_left_alone();
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
