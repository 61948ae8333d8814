// Distances from centres on the emulated GPU: near double loops over the definition, the values of the CPU's tables
// that fuse, the same bits for a row alone and in any batch.
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

// Sums in double and what bounds their rounding.
struct Oracle {
  std::vector<double> value, size;

  explicit Oracle(Index count) : value(static_cast<std::size_t>(count)), size(value.size()) {}
  void add(Index i, double v) { value[i] += v, size[i] += std::fabs(v); }
  // `roundings` of any term on its way into the sum.
  bool near(const std::vector<float>& got, Index roundings) const {
    bool ok = got.size() == value.size();
    for (std::size_t i = 0; ok && i < got.size(); ++i)
      ok = std::fabs(got[i] - value[i]) <= 1.01 * kU * static_cast<double>(roundings) * size[i];
    return ok;
  }
};

// Equal numbers; NaN is not.
bool same_values(const std::vector<float>& a, const std::vector<float>& b) {
  bool same = a.size() == b.size() && !a.empty();
  for (std::size_t i = 0; same && i < a.size(); ++i) same = a[i] == b[i];
  return same;
}

// (rows, width) without what lies between rows; empty if that was written to.
std::vector<float> gathered(const std::vector<float>& values, Index rows, Index width) {
  std::vector<float> out;
  for (Index r = 0; r < rows; ++r) {
    const Index row = r * (width + kGap);
    out.insert(out.end(), values.begin() + row, values.begin() + row + width);
    for (Index i = width; i < width + kGap; ++i)
      if (values[row + i] != 9.0f) return {};
  }
  return out;
}

std::vector<float> nines(Index count) { return std::vector<float>(static_cast<std::size_t>(count), 9.0f); }

struct RbfCase {
  Index rows, features, units;
  bool diagonal;
  std::vector<float> x, dy, centre, scale;  // x and dy with gaps; centre (units, features)

  RbfCase(Index r, Index f, Index u, bool d)
      : rows(r),
        features(f),
        units(u),
        diagonal(d),
        x(uniform_floats(r * (f + kGap), 1, 0, 1)),
        dy(uniform_floats(r * (u + kGap), 2, -1, 1)),
        centre(uniform_floats(u * f, 3, 0, 1)),
        scale(uniform_floats(d ? u * f : u, 4, -2, 2)) {}
  double x_at(Index r, Index p) const { return x[r * (features + kGap) + p]; }
  double dy_at(Index r, Index j) const { return dy[r * (units + kGap) + j]; }
  double centre_at(Index j, Index p) const { return centre[j * features + p]; }
  double scale_at(Index j, Index p) const { return scale[diagonal ? j * features + p : j]; }

  RbfRows descriptor(Index first, Index last) const {
    RbfRows a;
    a.rows = rows, a.features = features, a.units = units, a.diagonal = diagonal;
    a.ldx = a.lddx = features + kGap, a.ldy = a.lddy = units + kGap;
    a.first = first, a.last = last;
    return a;
  }
  RbfGradient gradient() const {
    RbfGradient a;
    a.rows = rows, a.features = features, a.units = units, a.diagonal = diagonal;
    a.ldx = features + kGap, a.lddy = units + kGap;
    a.last = units;
    return a;
  }
};

struct Result {
  std::vector<float> y, dx, dcentre, dscale;
};

// Parameters packed as src/layers/rbf.cpp has them: (units, features), then (features, units).
void pack(const Kernels& k, const RbfCase& c, const float* values, float* backward, float* forward) {
  const Index in = c.features, out = c.units;
  k.pack(nullptr, {in, 1, out, values, nullptr, in, 1, 0, in, backward});
  k.pack(nullptr, {out, in, 1, values, nullptr, 0, in, 0, out, forward});
}

Result on_cpu(const Kernels& k, const RbfCase& c) {
  const Index in = c.features, out = c.units;
  std::vector<float> centre_back(out * padded(in)), centre_on(in * padded(out)), scale_back = c.scale,
                                                                                 scale_on = c.scale;
  pack(k, c, c.centre.data(), centre_back.data(), centre_on.data());
  if (c.diagonal) {
    scale_back.resize(centre_back.size()), scale_on.resize(centre_on.size());
    pack(k, c, c.scale.data(), scale_back.data(), scale_on.data());
  }
  Result r{nines(c.rows * (out + kGap)), nines(c.rows * (in + kGap)), nines(out * in),
           nines(static_cast<Index>(c.scale.size()))};
  RbfRows f = c.descriptor(0, out), b = c.descriptor(0, in);
  f.x = c.x.data(), f.centre = centre_on.data(), f.scale = scale_on.data(), f.y = r.y.data();
  k.rbf_forward(nullptr, f);
  b.x = c.x.data(), b.centre = centre_back.data(), b.scale = scale_back.data();
  b.dy = c.dy.data(), b.dx = r.dx.data();
  k.rbf_backward(nullptr, b);
  RbfGradient g = c.gradient();
  g.x = c.x.data(), g.dy = c.dy.data(), g.centre = centre_back.data(), g.scale = scale_back.data();
  g.dcentre = r.dcentre.data(), g.dscale = r.dscale.data();
  k.rbf_gradient(nullptr, g);
  return r;
}

// Columns in two calls where they are more than a panel, the gradient in parts of `each` units.
Result on_gpu(const RbfCase& c, Index each, Stream stream = nullptr) {
  const Index in = c.features, out = c.units;
  DeviceArray<float> x(c.x), dy(c.dy), centre(c.centre), scale(c.scale);
  DeviceArray<float> centre_back(out * padded(in)), centre_on(in * padded(out));
  DeviceArray<float> scale_back(out * padded(in)), scale_on(in * padded(out));
  DeviceArray<float> y(nines(c.rows * (out + kGap))), dx(nines(c.rows * (in + kGap)));
  DeviceArray<float> dcentre(nines(out * in)), dscale(nines(static_cast<Index>(c.scale.size())));
  pack(gpu(), c, centre.data(), centre_back.data(), centre_on.data());
  if (c.diagonal) pack(gpu(), c, scale.data(), scale_back.data(), scale_on.data());
  for (Index first = 0; first < out; first += gpu().panel) {
    RbfRows f = c.descriptor(first, std::min(out, first + gpu().panel));
    f.x = x.data(), f.centre = centre_on.data(), f.scale = c.diagonal ? scale_on.data() : scale.data();
    f.y = y.data();
    gpu().rbf_forward(stream, f);
  }
  for (Index first = 0; first < in; first += gpu().panel) {
    RbfRows b = c.descriptor(first, std::min(in, first + gpu().panel));
    b.x = x.data(), b.centre = centre_back.data(), b.scale = c.diagonal ? scale_back.data() : scale.data();
    b.dy = dy.data(), b.dx = dx.data();
    gpu().rbf_backward(stream, b);
  }
  for (Index first = 0; first < out; first += each) {
    RbfGradient g = c.gradient();
    g.first = first, g.last = std::min(out, first + each);
    g.x = x.data(), g.dy = dy.data(), g.centre = centre_back.data();
    g.scale = c.diagonal ? scale_back.data() : scale.data();
    g.dcentre = dcentre.data(), g.dscale = dscale.data();
    gpu().rbf_gradient(stream, g);
  }
  return {y.host(), dx.host(), dcentre.host(), dscale.host()};
}

void check_definition(const RbfCase& c, const std::vector<float>& y, const std::vector<float>& dx, const Result& got) {
  Oracle distance(c.rows * c.units), down(c.rows * c.features), centre(c.units * c.features);
  Oracle scale(static_cast<Index>(c.scale.size()));
  for (Index r = 0; r < c.rows; ++r)
    for (Index j = 0; j < c.units; ++j)
      for (Index p = 0; p < c.features; ++p) {
        const double d = c.x_at(r, p) - c.centre_at(j, p), s = c.scale_at(j, p), g = c.dy_at(r, j);
        distance.add(r * c.units + j, -s * s * d * d);
        down.add(r * c.features + p, -2 * g * s * s * d);
        centre.add(j * c.features + p, 2 * g * s * s * d);
        scale.add(c.diagonal ? j * c.features + p : j, -2 * g * s * d * d);
      }
  CHECK(distance.near(y, c.features + 6));
  CHECK(down.near(dx, c.units + 6));
  CHECK(centre.near(got.dcentre, c.rows + 6));
  CHECK(scale.near(got.dscale, c.rows + 6 + (c.diagonal ? 0 : c.features)));
}

void test_rbf(const RbfCase& c) {
  const Result got = on_gpu(c, c.units);
  const std::vector<float> y = gathered(got.y, c.rows, c.units), dx = gathered(got.dx, c.rows, c.features);
  check_definition(c, y, dx, got);
  for (const Kernels* table : tables()) {
#ifdef __x86_64__
    if (table->lanes == 1) continue;  // rounds a product before it adds
#endif
    const Result wanted = on_cpu(*table, c);
    CHECK(same_values(got.y, wanted.y) && same_values(got.dx, wanted.dx));
    CHECK(same_values(got.dcentre, wanted.dcentre));
    if (c.diagonal) CHECK(same_values(got.dscale, wanted.dscale));  // else it sums over features in another order
  }
  const Result parts = on_gpu(c, 4);
  CHECK(same_bits(parts.dcentre, got.dcentre) && same_bits(parts.dscale, got.dscale));
  RbfCase alone(1, c.features, c.units, c.diagonal);  // the last row: alone it is the first of its tile
  std::copy_n(c.x.end() - alone.x.size(), alone.x.size(), alone.x.begin());
  std::copy_n(c.dy.end() - alone.dy.size(), alone.dy.size(), alone.dy.begin());
  const Result one = on_gpu(alone, c.units);
  CHECK(same_bits(one.y.data(), got.y.data() + (c.rows - 1) * (c.units + kGap), c.units));
  CHECK(same_bits(one.dx.data(), got.dx.data() + (c.rows - 1) * (c.features + kGap), c.features));
}

// Rows that are done are left alone, and are no part of the parameters' gradient.
void test_active() {
  const RbfCase c(9, 5, 7, false), fewer(6, 5, 7, false);
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{6});
  cuda::DeviceStream stream{nullptr, active.data()};
  const Result some = on_gpu(c, 7, &stream), wanted = on_gpu(fewer, 7);
  CHECK(!std::equal(wanted.y.begin(), wanted.y.end(), nines(6 * (7 + kGap)).begin()));
  bool left = true;
  for (Index i = 6 * (7 + kGap); i < 9 * (7 + kGap); ++i) left &= some.y[i] == 9.0f;
  for (Index i = 6 * (5 + kGap); i < 9 * (5 + kGap); ++i) left &= some.dx[i] == 9.0f;
  CHECK(left);
  CHECK(same_bits(some.dcentre, wanted.dcentre) && same_bits(some.dscale, wanted.dscale));
}

}  // namespace

int main() {
  for (const bool diagonal : {false, true}) {
    for (const Index features : {1, 3, 16, 33, 65, 97})
      for (const Index units : {1, 7, 16, 17, 65}) test_rbf({17, features, units, diagonal});
    for (const Index rows : {1, 2, 63, 65, 97}) test_rbf({rows, 15, 31, diagonal});
    test_rbf({3, 300, 5, diagonal});
    test_rbf({3, 5, 200, diagonal});
  }
  test_active();
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
