// Random numbers: known answers, the same bits on every table, and the distributions that random starts promise.
#include <algorithm>

#include "check.h"
#include "dispatch.h"
#include "guarded.h"
#include "philox.h"

using namespace epsball;
using namespace epsball::test;

namespace {

// The known answers of the Random123 distribution (Salmon et al. 2011).
void test_known_answers() {
  struct Answer {
    std::uint32_t counter[4];
    std::uint64_t key;
    std::uint32_t wanted[4];
  };
  const Answer answers[] = {
      {{0, 0, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{~0u, ~0u, ~0u, ~0u}, ~std::uint64_t{0}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       0x299f31d0a4093822,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Answer& a : answers) {
    std::uint32_t words[4];
    std::copy_n(a.counter, 4, words);
    generic::philox(words, a.key);
    CHECK(same_bits(words, a.wanted, 4));
  }
}

std::vector<float> uniforms(const Kernels& table, Index count, std::uint64_t seed, Index id) {
  Guarded<float> out(count);
  table.uniform(nullptr, count, 0.0f, 1.0f, seed, id, out.data());
  CHECK(out.intact());
  return out.copy();
}

void test_uniforms_are_the_same_on_every_table() {
  for (const Index count : {Index{1}, Index{15}, Index{63}, Index{64}, Index{65}, Index{97}, Index{1000}}) {
    const std::vector<float> wanted = uniforms(*tables().front(), count, 5, 1234567890123);
    for (const Kernels* table : tables()) CHECK(same_bits(uniforms(*table, count, 5, 1234567890123), wanted));
  }
  // A longer stream begins as a shorter one; another id, another seed give another.
  const Kernels& table = *tables().back();
  const std::vector<float> wanted = uniforms(table, 97, 5, 3);
  CHECK(same_bits(uniforms(table, 1000, 5, 3).data(), wanted.data(), 97));
  CHECK(!same_bits(uniforms(table, 97, 5, 4), wanted));
  CHECK(!same_bits(uniforms(table, 97, 6, 3), wanted));
  CHECK(!same_bits(uniforms(table, 97, 5 + (std::uint64_t{1} << 40), 3), wanted));
}

// Words (i / 16) % 4 of blocks (i / 64) * 16 + i % 16, as src/philox.h says.
void test_layout_of_the_stream() {
  const std::vector<float> stream = uniforms(*tables().back(), 200, 9, 77);
  bool same = true;
  for (Index i = 0; i < 200; ++i) {
    const auto block = static_cast<std::uint32_t>(i / 64 * 16 + i % 16);
    std::uint32_t words[4] = {block, 2u << 24, 77, 0};
    generic::philox(words, 9);
    same &= stream[i] == static_cast<float>(words[i / 16 % 4] >> 8) * 0x1p-24f;
  }
  CHECK(same);
}

struct Moments {
  double mean = 0, variance = 0, kurtosis = 0;
  explicit Moments(const std::vector<double>& v) {
    const auto n = static_cast<double>(v.size());
    for (const double x : v) mean += x / n;
    for (const double x : v) variance += (x - mean) * (x - mean) / n;
    for (const double x : v) kurtosis += std::pow(x - mean, 4) / (n * variance * variance);
  }
};

// Random starts around 0 without a box: (rows, features), row r having the id r.
std::vector<double> starts(const Kernels& table, Norm norm, Start kind, Index rows, Index features, float eps) {
  const std::vector<float> zeros(static_cast<std::size_t>(rows * features));
  Guarded<float> x(rows * features), x0(zeros), radius(std::vector<float>(static_cast<std::size_t>(rows), eps));
  Guarded<float> lo(std::vector<float>(zeros.size(), -HUGE_VALF)), hi(std::vector<float>(zeros.size(), HUGE_VALF));
  std::vector<Index> ids(static_cast<std::size_t>(rows));
  for (Index r = 0; r < rows; ++r) ids[r] = r;
  StartRows a;
  a.ball = {norm, rows, features, x.data(), x0.data(), lo.data(), hi.data(), features, radius.data()};
  a.kind = kind;
  a.ids = ids.data();
  a.seed = 3;
  table.start(nullptr, a);
  CHECK(x.intact());
  const std::vector<float> out = x.copy();
  return std::vector<double>(out.begin(), out.end());
}

// The tolerances are five standard errors.
void test_distributions(const Kernels& table) {
  const Index rows = 4000;
  const auto n = static_cast<double>(rows);
  const Moments uniform(starts(table, Norm::linf, Start::ball, rows, 5, 1.0f));
  CHECK_NEAR(uniform.mean, 0, 5 * std::sqrt(1 / 3.0 / (5 * n)));
  CHECK_NEAR(uniform.variance, 1 / 3.0, 5 * std::sqrt(4 / 45.0 / (5 * n)));

  const Moments signs(starts(table, Norm::linf, Start::signs, rows, 5, 0.5f));
  CHECK_NEAR(signs.mean, 0, 5 * 0.5 / std::sqrt(5 * n));
  CHECK_NEAR(signs.variance, 0.25, 1e-3);

  // In many dimensions the coordinates of a point of the L2 ball are almost normal.
  const Index wide = 1024;
  std::vector<double> normals = starts(table, Norm::l2, Start::ball, 100, wide, 1.0f);
  for (double& v : normals) v *= std::sqrt(static_cast<double>(wide));
  const Moments normal(normals);
  CHECK_NEAR(normal.mean, 0, 5 / std::sqrt(100.0 * wide));
  CHECK_NEAR(normal.variance, static_cast<double>(wide) / (wide + 2), 5 * std::sqrt(2.0 / (100.0 * wide)));
  CHECK_NEAR(normal.kurtosis, 3, 5 * std::sqrt(24.0 / (100.0 * wide)));

  // (|x| / eps) ^ features is uniform where x is uniform in the ball.
  for (const Norm norm : {Norm::l2, Norm::l1}) {
    const Index features = 3;
    const std::vector<double> x = starts(table, norm, Start::ball, rows, features, 0.7f);
    std::vector<double> share;
    for (Index r = 0; r < rows; ++r) {
      double length = 0;
      for (Index i = 0; i < features; ++i) {
        const double v = x[r * features + i];
        length += norm == Norm::l2 ? v * v : std::fabs(v);
      }
      share.push_back(std::pow((norm == Norm::l2 ? std::sqrt(length) : length) / 0.7, features));
    }
    const Moments m(share);
    CHECK_NEAR(m.mean, 0.5, 5 * std::sqrt(1 / 12.0 / n));
    CHECK_NEAR(m.variance, 1 / 12.0, 5 * std::sqrt(1 / 180.0 / n));
    CHECK_NEAR(Moments(x).mean, 0, 5 * 0.7 / std::sqrt(3 * n));
  }
}

void test_dropout(const Kernels& table) {
  const Index rows = 50, n = 97, ld = 100;
  std::vector<Index> ids(rows);
  for (Index r = 0; r < rows; ++r) ids[r] = 3 * r;
  Guarded<float> x(std::vector<float>(rows * ld, 1.0f)), again(std::vector<float>(rows * ld, 1.0f));
  table.dropout(nullptr, 0.25f, rows, n, x.data(), ld, ids.data(), 1, 2);
  table.dropout(nullptr, 0.25f, rows, n, again.data(), ld, ids.data(), 1, 2);
  CHECK(same_bits(x.data(), again.data(), rows * ld) && x.intact());
  double kept = 0;
  bool values = true, gaps = true;
  for (Index r = 0; r < rows; ++r) {
    for (Index i = 0; i < n; ++i) values &= x[r * ld + i] == 0.0f || x[r * ld + i] == 1.0f / 0.75f;
    for (Index i = 0; i < n; ++i) kept += x[r * ld + i] != 0.0f;
    for (Index i = n; i < ld; ++i) gaps &= x[r * ld + i] == 1.0f;
  }
  CHECK(values && gaps);
  CHECK_NEAR(kept / static_cast<double>(rows * n), 0.75, 5 * std::sqrt(0.1875 / static_cast<double>(rows * n)));
}

}  // namespace

int main() {
  test_known_answers();
  test_uniforms_are_the_same_on_every_table();
  test_layout_of_the_stream();
  for (const Kernels* table : tables()) {
    test_distributions(*table);
    test_dropout(*table);
  }
  return finish();
}
