// Filters and smaller images against float64 loops, on every table: guarded, in place, and gradients as transposes.
#include <algorithm>
#include <cmath>

#include "attacks/resize_row.h"
#include "check.h"
#include "dispatch.h"
#include "guarded.h"

using namespace epsball;
using namespace epsball::test;

namespace {

struct Shape {
  Index channels, height, width;
};

constexpr Index kRows = 3;

Index features(const Shape& s) { return s.channels * s.height * s.width; }

// ---- filters ----

std::vector<double> blurred(const Shape& s, const std::vector<float>& taps, const float* x) {
  const auto count = static_cast<Index>(taps.size()), middle = (count - 1) / 2;
  std::vector<double> out(static_cast<std::size_t>(features(s)));
  for (Index c = 0; c < s.channels; ++c)
    for (Index i = 0; i < s.height; ++i)
      for (Index j = 0; j < s.width; ++j)
        for (Index a = 0; a < count; ++a)
          for (Index b = 0; b < count; ++b) {
            const Index y = i + a - middle, z = j + b - middle;
            if (y < 0 || y >= s.height || z < 0 || z >= s.width) continue;
            out[(c * s.height + i) * s.width + j] += static_cast<double>(taps[a]) * static_cast<double>(taps[b]) *
                                                     static_cast<double>(x[(c * s.height + y) * s.width + z]);
          }
  return out;
}

void test_blur(const Kernels& table, const Shape& s, Index count, bool in_place) {
  const Index n = features(s), ld = n + 2;
  const auto taps = uniform_floats(count, 5, -1, 1);
  const auto values = uniform_floats(kRows * ld, 6, -1, 1);
  Guarded<float> filter(taps), x(values), between(kRows * ld), out(kRows * ld);
  float* const to = in_place ? x.data() : out.data();
  table.blur(nullptr, {kRows, s.channels, s.height, s.width, filter.data(), count, x.data(), between.data(), to, ld});
  CHECK(filter.intact() && x.intact() && between.intact() && out.intact());
  bool near = true;
  for (Index r = 0; r < kRows; ++r) {
    const auto wanted = blurred(s, taps, values.data() + r * ld);
    for (Index i = 0; i < n; ++i)
      near &=
          std::fabs(static_cast<double>(to[r * ld + i]) - wanted[i]) <= 0x1p-22 * static_cast<double>(count * count);
  }
  CHECK(near);
}

// ---- other sizes ----

std::vector<float> resized(const Kernels& table, const Shape& s, Index least, double chance, bool gradient,
                           const std::vector<float>& values, Index rows = kRows, Index first = 0) {
  static const Index kIds[kRows] = {4, 0, Index{1} << 40};
  const Index ld = features(s) + 2;
  Guarded<float> x(std::vector<float>(values.begin() + first * ld, values.begin() + (first + rows) * ld)),
      between(rows * ld), out(rows * ld);
  std::uint32_t draw = 12;
  ResizeRows a;
  a.rows = rows;
  a.channels = s.channels;
  a.height = s.height;
  a.width = s.width;
  a.least = least;
  a.chance = chance;
  a.gradient = gradient;
  a.x = x.data();
  a.between = between.data();
  a.out = out.data();
  a.ld = ld;
  a.ids = kIds + first;
  a.seed = 77;
  a.draw = &draw;
  a.more = 3;
  table.resize(nullptr, a);
  CHECK(x.intact() && between.intact() && out.intact());
  return out.copy();
}

double dot(const Shape& s, const std::vector<float>& x, const std::vector<float>& y, Index row) {
  const Index ld = features(s) + 2;
  double sum = 0;
  for (Index i = 0; i < features(s); ++i)
    sum += static_cast<double>(x[row * ld + i]) * static_cast<double>(y[row * ld + i]);
  return sum;
}

void test_resize(const Kernels& table, const Shape& s, Index least) {
  const Index n = features(s), ld = n + 2;
  const auto x = uniform_floats(kRows * ld, 8, 0, 1), y = uniform_floats(kRows * ld, 9, -1, 1);
  const auto small = resized(table, s, least, 1.0, false, x), back = resized(table, s, least, 1.0, true, y);
  bool adjoint = true, inside = true;
  for (Index r = 0; r < kRows; ++r) {
    adjoint &= std::fabs(dot(s, small, y, r) - dot(s, x, back, r)) <= 0x1p-20 * static_cast<double>(n);
    for (Index i = 0; i < n; ++i) inside &= small[r * ld + i] >= 0.0f && small[r * ld + i] <= 1.000001f;
  }
  CHECK(adjoint && inside);
  // An image that is all ones stays so where it is, and nothing else is left.
  const auto ones = resized(table, s, least, 1.0, false, std::vector<float>(kRows * ld, 1.0f));
  bool plain = true;
  for (Index r = 0; r < kRows; ++r)
    for (Index i = 0; i < n; ++i) plain &= ones[r * ld + i] == 0.0f || std::fabs(ones[r * ld + i] - 1.0f) < 1e-6f;
  CHECK(plain);
  const auto never = resized(table, s, least, 0.0, false, x);
  for (Index r = 0; r < kRows; ++r) {
    CHECK(same_bits(&never[r * ld], &x[r * ld], n));
    const auto alone = resized(table, s, least, 1.0, false, x, 1, r);
    CHECK(same_bits(alone.data(), &small[r * ld], n));
  }
}

}  // namespace

int main() {
  const Shape shapes[] = {{1, 1, 1}, {1, 1, 17}, {2, 9, 1}, {3, 5, 7}, {1, 28, 28}, {2, 16, 33}};
  for (const Kernels* table : tables())
    for (const Shape& s : shapes) {
      for (const Index count : {Index{1}, Index{2}, Index{3}, Index{8}, Index{15}})
        for (const bool in_place : {false, true}) test_blur(*table, s, count, in_place);
      for (const Index least : {Index{1}, s.width / 2 + 1, s.width}) test_resize(*table, s, least);
    }
  return finish();
}
