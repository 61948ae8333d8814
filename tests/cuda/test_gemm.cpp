// Matrix products of the emulated GPU: near a double oracle, the values of the CPU's tables that fuse, the same bits
// for a row alone and in any batch, and every epilogue against its composition.
#include "launch.cuh"

#include "check.h"
#include "device_array.h"
#include "dispatch.h"
#include "guarded.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr Index kRows = 97;
constexpr double kU = 0x1p-24;

const Kernels& gpu() { return cuda::table(); }

std::vector<float> first_rows(const std::vector<float>& values, Index rows, Index width) {
  return {values.begin(), values.begin() + rows * width};
}

// NaN everywhere, as a buffer is at first.
std::vector<float> poison(Index count) { return std::vector<float>(static_cast<std::size_t>(count), std::nanf("")); }

// A matrix (k, n) packed for the GPU.
struct Packed {
  Index k, n;
  DeviceArray<float> b;

  Packed(Index depth, Index width, const std::vector<float>& values) : k(depth), n(width), b(depth * padded(width)) {
    DeviceArray<float> plain(values);
    gpu().pack(nullptr, {n, 1, k, plain.data(), nullptr, n, 1, 0, n, b.data()});
  }
  Gemm product(Index m, DeviceArray<float>& a, DeviceArray<float>& c, Index ldc) {
    return {m, n, k, a.data(), k, 1, b.data(), 0, n, c.data(), ldc, {}};
  }
};

// A B in double, and the sum of |a| |b| that bounds the rounding.
struct Oracle {
  std::vector<double> value, size;

  Oracle(Index k, Index n, const std::vector<float>& a, const std::vector<float>& b)
      : value(static_cast<std::size_t>(kRows * n)), size(value.size()) {
    for (Index i = 0; i < kRows; ++i)
      for (Index p = 0; p < k; ++p)
        for (Index j = 0; j < n; ++j) {
          const double v = static_cast<double>(a[i * k + p]) * static_cast<double>(b[p * n + j]);
          value[i * n + j] += v;
          size[i * n + j] += std::fabs(v);
        }
  }
  // `factors`: what rounding them may change of a product.
  bool near(const std::vector<float>& c, Index k, double factors = 0.0) const {
    bool ok = c.size() == value.size();
    for (std::size_t i = 0; ok && i < c.size(); ++i)
      ok = std::fabs(c[i] - value[i]) <= 1.01 * (kU * static_cast<double>(k + 1) + factors) * size[i];
    return ok;
  }
};

// The first m rows are those of `whole`, and what lies between rows of c is as it was.
bool same_rows(const std::vector<float>& c, Index m, Index n, Index ldc, const std::vector<float>& whole) {
  bool same = true;
  for (Index i = 0; i < m; ++i) {
    same &= same_bits(&c[i * ldc], &whole[i * n], n);
    for (Index j = n; j < ldc && i + 1 < m; ++j) same &= std::isnan(c[i * ldc + j]);
  }
  return same;
}

// On the CPU, an output is the same chain.
void test_against_cpu(Index k, Index n, const std::vector<float>& a, const std::vector<float>& b,
                      const std::vector<float>& whole) {
  for (const Kernels* table : tables()) {
#ifdef __x86_64__
    if (table->lanes == 1) continue;  // rounds a product before it adds
#endif
    std::vector<float> packed(static_cast<std::size_t>(k * padded(n))), c(whole.size());
    table->pack(nullptr, {n, 1, k, b.data(), nullptr, n, 1, 0, n, packed.data()});
    table->gemm(nullptr, {kRows, n, k, a.data(), k, 1, packed.data(), 0, n, c.data(), n, {}});
    CHECK(same_bits(whole, c));
  }
}

// Fewer rows, and single ones, which stand elsewhere in a tile than in a batch.
void test_rows(Packed& b, const std::vector<float>& a_values, const std::vector<float>& whole) {
  for (const Index m : {1, 2, 17, 63, 65}) {
    const Index ldc = b.n + 3;
    DeviceArray<float> a(first_rows(a_values, m, b.k)), c(poison((m - 1) * ldc + b.n));
    gpu().gemm(nullptr, b.product(m, a, c, ldc));
    CHECK(same_rows(c.host(), m, b.n, ldc, whole));
  }
  for (const Index row : {13, 96}) {
    DeviceArray<float> a(std::vector<float>(a_values.begin() + row * b.k, a_values.begin() + (row + 1) * b.k)), c(b.n);
    gpu().gemm(nullptr, b.product(1, a, c, b.n));
    CHECK(same_bits(c.host().data(), whole.data() + row * b.n, b.n));
  }
}

// A^T with its rows along k, as parameter gradients have it.
void test_transposed(Packed& b, const std::vector<float>& a_values, const std::vector<float>& whole) {
  std::vector<float> turned(a_values.size());
  for (Index i = 0; i < kRows; ++i)
    for (Index p = 0; p < b.k; ++p) turned[p * kRows + i] = a_values[i * b.k + p];
  DeviceArray<float> a(turned), c(kRows * b.n);
  Gemm g = b.product(kRows, a, c, b.n);
  g.a_row = 1, g.a_k = kRows;
  gpu().gemm(nullptr, g);
  CHECK(same_bits(c.host(), whole));
}

void test_product(Index k, Index n) {
  const auto seed = static_cast<unsigned>(1000 * k + n);
  const std::vector<float> a_values = uniform_floats(kRows * k, seed, -1, 1, 0.3f);
  const std::vector<float> b_values = uniform_floats(k * n, seed + 1, -1, 1);
  Packed b(k, n, b_values);
  DeviceArray<float> a(a_values), c(kRows * n);
  gpu().gemm(nullptr, b.product(kRows, a, c, n));
  const std::vector<float> whole = c.host();
  CHECK(Oracle(k, n, a_values, b_values).near(whole, k));
  test_against_cpu(k, n, a_values, b_values, whole);
  test_rows(b, a_values, whole);
  test_transposed(b, a_values, whole);
}

// A product may be computed by several calls, panels of columns each.
void test_columns() {
  const Index k = 17, n = 200, m = 3;
  const std::vector<float> a_values = uniform_floats(m * k, 1, -1, 1);
  Packed b(k, n, uniform_floats(k * n, 2, -1, 1));
  DeviceArray<float> a(a_values), whole(m * n), parts(poison(m * n));
  gpu().gemm(nullptr, b.product(m, a, whole, n));
  Gemm g = b.product(m, a, parts, n);
  g.first = gpu().panel;
  gpu().gemm(nullptr, g);
  CHECK(std::isnan(parts.host()[127]) && parts.host()[128] == whole.host()[128]);
  g.first = 0, g.last = gpu().panel;
  gpu().gemm(nullptr, g);
  CHECK(same_bits(parts.host(), whole.host()));
}

// A chain that ends in an underflow to -0 is 0, as on the CPU.
void test_negative_zero() {
  const Index k = 16, n = 5;  // whole visits: no zeros behind
  std::vector<float> a_values(k, 0.0f);
  a_values[k - 1] = -1e-30f;
  Packed b(k, n, std::vector<float>(k * n, 1e-30f));
  DeviceArray<float> a(a_values), c(n);
  gpu().gemm(nullptr, b.product(1, a, c, n));
  CHECK(same_bits(c.host(), std::vector<float>(n, 0.0f)));
}

// Rows that are done are left alone by both products.
void test_active() {
  const Index k = 5, n = 7, m = 70, active = 66;
  Packed b(k, n, uniform_floats(k * n, 2, -1, 1)), turned(n, k, uniform_floats(k * n, 2, -1, 1));
  DeviceArray<float> a(uniform_floats(m * k, 1, -1, 1)), whole(m * n);
  DeviceArray<std::int32_t> left(std::vector<std::int32_t>{static_cast<std::int32_t>(active)});
  cuda::DeviceStream stream{nullptr, left.data()};
  for (const bool narrow : {false, true}) {
    DeviceArray<float> some(poison(m * n));
    Gemm g = b.product(m, a, whole, n);
    if (narrow) g.b = turned.b.data();
    const auto product = narrow ? gpu().dots : gpu().gemm;
    product(nullptr, g);
    g.c = some.data();
    product(&stream, g);
    const auto values = some.host();
    CHECK(same_bits(values.data(), whole.host().data(), active * n));
    CHECK(std::isnan(values[active * n]) && std::isnan(values[m * n - 1]));
  }
}

// ---- tensor cores ----

struct Rounding {
  cuda::Precision precision;
  float (*of)(float);
  double unit;
};

// Rounded factors, added up in float32; near the exact product as far as that rounding goes.
void test_tensor_product(const Rounding& r, Index k, Index n) {
  const auto seed = static_cast<unsigned>(1000 * k + n);
  const std::vector<float> a_values = uniform_floats(kRows * k, seed, -1, 1, 0.3f);
  const std::vector<float> b_values = uniform_floats(k * n, seed + 1, -1, 1);
  std::vector<float> a_rounded = a_values, b_rounded = b_values;
  for (auto* values : {&a_rounded, &b_rounded})
    for (float& v : *values) v = r.of(v);
  const Kernels& table = cuda::table(r.precision);
  Packed b(k, n, b_values);
  const auto product = [&](Index first, Index m, Index ldc) {
    DeviceArray<float> a(std::vector<float>(a_values.begin() + first * k, a_values.begin() + (first + m) * k));
    DeviceArray<float> c(poison((m - 1) * ldc + n));
    table.gemm(nullptr, b.product(m, a, c, ldc));
    return c.host();
  };
  const std::vector<float> whole = product(0, kRows, n);
  CHECK(Oracle(k, n, a_rounded, b_rounded).near(whole, k));
  CHECK(Oracle(k, n, a_values, b_values).near(whole, k, 2 * r.unit + r.unit * r.unit));
  for (const Index m : {1, 2, 17, 63, 65}) CHECK(same_rows(product(0, m, n + 3), m, n, n + 3, whole));
  CHECK(same_bits(product(96, 1, n).data(), whole.data() + 96 * n, n));
}

// Turned factors, columns of the product, rows that are done, and the attack's step at the end.
void test_tensor_rest(const Rounding& r) {
  const Kernels& table = cuda::table(r.precision);
  const Index k = 33, n = 70, m = 70, active = 66;
  const std::vector<float> a_values = uniform_floats(m * k, 1, -1, 1);
  std::vector<float> turned(a_values.size());
  for (Index i = 0; i < m; ++i)
    for (Index p = 0; p < k; ++p) turned[p * m + i] = a_values[i * k + p];
  Packed b(k, n, uniform_floats(k * n, 2, -1, 1));
  DeviceArray<float> a(a_values), a_turned(turned), c(m * n), again(m * n), part(poison(m * n)), some(poison(m * n));
  table.gemm(nullptr, b.product(m, a, c, n));
  const std::vector<float> whole = c.host();
  Gemm g = b.product(m, a_turned, again, n);
  g.a_row = 1, g.a_k = m;
  table.gemm(nullptr, g);
  CHECK(same_bits(again.host(), whole));
  g = b.product(m, a, part, n);
  g.first = 32, g.last = 69;
  table.gemm(nullptr, g);
  CHECK(std::isnan(part.host()[31]) && part.host()[32] == whole[32] && part.host()[68] == whole[68]);
  CHECK(std::isnan(part.host()[69]));
  DeviceArray<std::int32_t> left(std::vector<std::int32_t>{static_cast<std::int32_t>(active)});
  cuda::DeviceStream stream{nullptr, left.data()};
  table.gemm(&stream, b.product(m, a, some, n));
  CHECK(same_bits(some.host().data(), whole.data(), active * n) && std::isnan(some.host()[active * n]));

  std::vector<float> wanted(static_cast<std::size_t>(m * n));
  for (Index i = 0; i < m * n; ++i) wanted[i] = 0.5f + (whole[i] > 0.0f ? 0.25f : whole[i] < 0.0f ? -0.25f : 0.0f);
  DeviceArray<float> x(std::vector<float>(m * n, 0.5f)), lo(std::vector<float>(m * n, 0.0f));
  DeviceArray<float> hi(std::vector<float>(m * n, 1.0f)), size(std::vector<float>(m, 0.25f));
  DeviceArray<std::uint8_t> moving(std::vector<std::uint8_t>(m, 0));
  const SignStep step{x.data(), lo.data(), hi.data(), n, size.data(), moving.data(), nullptr, nullptr, nullptr};
  g = b.product(m, a, c, n);
  g.epilogue.step = &step;
  table.gemm(nullptr, g);
  CHECK(same_bits(x.host(), wanted));
}

void test_tensor_cores() {
  const auto tf32 = [](float v) { return cuda::to_tf32(v); };
  const auto bf16 = [](float v) { return cuda::to_float(cuda::to_bf16(v)); };
  for (const Rounding& r : {Rounding{cuda::Precision::tf32, tf32, 0x1p-11}, {cuda::Precision::bf16, bf16, 0x1p-8}}) {
    for (const auto& [k, n] : {std::pair<Index, Index>{1, 1}, {7, 3}, {31, 65}, {32, 16}, {33, 17}, {97, 63}})
      test_tensor_product(r, k, n);
    test_tensor_rest(r);
  }
}

// The product of few columns, from B^T (n, k) packed for the way back.
void test_dots(Index k, Index n) {
  const auto seed = static_cast<unsigned>(1000 * k + n + 7);
  const std::vector<float> a_values = uniform_floats(kRows * k, seed, -1, 1, 0.3f);
  const std::vector<float> b_values = uniform_floats(k * n, seed + 1, -1, 1), bias = uniform_floats(n, 6, -1, 1);
  std::vector<float> turned(b_values.size());
  for (Index p = 0; p < k; ++p)
    for (Index j = 0; j < n; ++j) turned[j * k + p] = b_values[p * n + j];
  Packed b(n, k, turned);
  const auto product = [&](Index m, DeviceArray<float>& a, DeviceArray<float>& c, Index ldc, const Epilogue& end) {
    gpu().dots(nullptr, {m, n, k, a.data(), k, 1, b.b.data(), 0, n, c.data(), ldc, end});
    return c.host();
  };
  DeviceArray<float> a(a_values), c(kRows * n), activated(kRows * n), bias_gpu(bias);
  const std::vector<float> whole = product(kRows, a, c, n, {});
  CHECK(Oracle(k, n, a_values, b_values).near(whole, k));
  for (const Index m : {1, 2, 9, 65}) {
    const Index ldc = n + 3;
    DeviceArray<float> first(first_rows(a_values, m, k)), some(poison((m - 1) * ldc + n));
    CHECK(same_rows(product(m, first, some, ldc, {}), m, n, ldc, whole));
  }
  Epilogue end;
  end.bias = bias_gpu.data();
  end.activation = {Activation::relu, 0.0f};
  const std::vector<float> result = product(kRows, a, activated, n, end);
  bool right = true;
  for (Index i = 0; i < kRows * n; ++i) right &= result[i] == std::max(0.0f, whole[i] + bias[i % n]);
  CHECK(right);
}

// ---- epilogues ----

constexpr Index kDepth = 33;

struct EpilogueCase {
  Packed& b;
  Index m;
  std::vector<float> a_values;
  DeviceArray<float> a;
  std::vector<float> plain;  // the product without an epilogue

  // The second row has no gradient.
  static std::vector<float> rows(Index m, Index k) {
    auto values = uniform_floats(m * k, 5, -1, 1, 0.3f);
    if (m > 1) std::fill_n(values.begin() + k, k, 0.0f);
    return values;
  }
  EpilogueCase(Packed& packed, Index count) : b(packed), m(count), a_values(rows(m, b.k)), a(a_values) {
    DeviceArray<float> c(m * b.n);
    gpu().gemm(nullptr, b.product(m, a, c, b.n));
    plain = c.host();
  }
};

void test_forward(EpilogueCase& t, ActivationSpec spec) {
  const Index n = t.b.n, count = t.m * n;
  const std::vector<float> bias_values = uniform_floats(n, 6, -1, 1);
  DeviceArray<float> bias(bias_values), c(count), before(count);
  Gemm g = t.b.product(t.m, t.a, c, n);
  g.epilogue.bias = bias.data();
  g.epilogue.activation = spec;
  g.epilogue.pre_activation = before.data();
  gpu().gemm(nullptr, g);
  std::vector<float> sums = t.plain;
  for (Index i = 0; i < count; ++i) sums[i] += bias_values[i % n];
  CHECK(same_bits(before.host(), sums));
  DeviceArray<float> wanted(count);
  gpu().activation_forward(nullptr, spec, t.m, n, before.data(), n, wanted.data(), n);
  CHECK(same_bits(c.host(), wanted.host()));
}

void test_derivative(EpilogueCase& t, ActivationSpec spec) {
  const Index n = t.b.n, lds = n + 2;
  DeviceArray<float> saved(uniform_floats((t.m - 1) * lds + n, 7, 0.05f, 0.95f, 0.3f)), c(t.m * n), wanted(t.plain);
  Gemm g = t.b.product(t.m, t.a, c, n);
  g.epilogue.derivative = spec;
  g.epilogue.saved = saved.data();
  g.epilogue.saved_ld = lds;
  gpu().gemm(nullptr, g);
  gpu().activation_backward(nullptr, spec, t.m, n, saved.data(), lds, wanted.data(), n);
  CHECK(same_bits(c.host(), wanted.host()));
}

// The attack's step is the CPU's, of the gradient that the product alone stores; improved rows are kept on the way.
void test_step(EpilogueCase& t) {
  const Index n = t.b.n, count = t.m * n;
  std::vector<float> x = uniform_floats(count, 8, 0, 1), lo = x, hi = x;
  const std::vector<float> before = x, size = uniform_floats(t.m, 9, 0.01f, 0.3f);
  for (Index i = 0; i < count; ++i) lo[i] -= 0.05f, hi[i] += i % 3 == 0 ? 0.0f : 0.2f;
  std::vector<std::uint8_t> moving(t.m), improved(t.m);
  std::vector<std::int32_t> slot(t.m);
  for (Index i = 0; i < t.m; ++i) improved[i] = i % 3 != 1, slot[i] = static_cast<std::int32_t>(t.m - 1 - i);
  DeviceArray<float> x_gpu(x), lo_gpu(lo), hi_gpu(hi), size_gpu(size), best(poison(count)), unused(1);
  DeviceArray<std::uint8_t> moving_gpu(moving), improved_gpu(improved);
  DeviceArray<std::int32_t> slot_gpu(slot);
  const SignStep step{x_gpu.data(), lo_gpu.data(),       hi_gpu.data(),  n, size_gpu.data(), moving_gpu.data(),
                      best.data(),  improved_gpu.data(), slot_gpu.data()};
  Gemm g = t.b.product(t.m, t.a, unused, 0);
  g.epilogue.step = &step;
  gpu().gemm(nullptr, g);
  StepRows alone;
  alone.ball = {Norm::linf, t.m, n, x.data(), x.data(), lo.data(), hi.data(), n, nullptr};
  alone.gradient = t.plain.data();
  alone.gradient_ld = n;
  alone.size = size.data();
  alone.moving = moving.data();
  tables().front()->step(nullptr, alone);
  CHECK(same_bits(x_gpu.host(), x));
  CHECK(same_bits(moving_gpu.host(), moving));
  CHECK(moving[0] == 1 && (t.m == 1 || moving[1] == 0));
  const std::vector<float> kept = best.host();
  bool right = true;
  for (Index i = 0; i < t.m; ++i)
    for (Index j = 0; j < n; ++j) {
      const float there = kept[slot[i] * n + j];
      right &= improved[i] ? there == before[i * n + j] : std::isnan(there);
    }
  CHECK(right);
}

void test_epilogues(Index n) {
  Packed b(kDepth, n, uniform_floats(kDepth * n, 4, -1, 1));
  for (const Index m : {1, 2, 17}) {
    EpilogueCase t(b, m);
    for (int kind = 0; kind <= static_cast<int>(Activation::quadratic); ++kind) {
      test_forward(t, {static_cast<Activation>(kind), 0.5f});
      test_derivative(t, {static_cast<Activation>(kind), 0.5f});
    }
    test_step(t);
  }
}

// Weights taken with any strides, taps moved, lie row by row.
void test_pack(Index taps, Index members, Index n, bool taps_inside, bool moved) {
  const Index k = taps * members, ld = padded(n);
  const std::vector<float> weights = uniform_floats(k * n, static_cast<unsigned>(k + n), -1, 1);
  std::vector<Index> place(static_cast<std::size_t>(taps));
  for (Index t = 0; t < taps; ++t) place[t] = moved ? (t + taps / 2) % taps : t;
  // (n, members, taps), (members, n, taps)
  const Index member_stride = taps_inside ? taps : n * taps, n_stride = taps_inside ? k : taps;
  DeviceArray<float> b(weights), packed(k * ld);
  DeviceArray<Index> place_gpu(place);
  gpu().pack(nullptr, {n, taps, members, b.data(), moved ? place_gpu.data() : nullptr, member_stride, n_stride, 0, n,
                       packed.data()});
  const std::vector<float> got = packed.host();
  bool right = true;
  for (Index t = 0; t < taps; ++t)
    for (Index m = 0; m < members; ++m)
      for (Index j = 0; j < n; ++j)
        right &= got[(place[t] * members + m) * ld + j] == weights[t + m * member_stride + j * n_stride];
  CHECK(right);
}

// Only the columns that were asked for are written.
void test_pack_columns() {
  const Index k = 3, n = 300, ld = padded(n);
  for (const bool turned : {false, true}) {
    DeviceArray<float> b(uniform_floats(k * n, 1, -1, 1)), packed(poison(k * ld));
    const Index member_stride = turned ? 1 : n, n_stride = turned ? k : 1;
    gpu().pack(nullptr, {n, 1, k, b.data(), nullptr, member_stride, n_stride, 128, 256, packed.data()});
    const std::vector<float> values = packed.host();
    bool right = true;
    for (Index i = 0; i < k * ld; ++i) right &= std::isnan(values[i]) == (i % ld < 128 || i % ld >= 256);
    CHECK(right);
  }
}

}  // namespace

int main() {
  for (const Index n : kSizes) {
    for (const Index k : {1, 2, 15, 17, 33, 97}) test_product(k, n);
    if (n % 16 <= 3) test_epilogues(n);
  }
  for (const Index k : kSizes) test_product(k, 65);
  test_columns();
  test_negative_zero();
  test_active();
  test_tensor_cores();
  for (const Index n : {1, 2, 5, 10, 16})
    for (const Index k : {1, 7, 31, 32, 33, 97, 784}) test_dots(k, n);
  for (const Index taps : {1, 4, 25})
    for (const Index members : {1, 3, 16, 33})
      for (const Index n : {1, 3, 17, 65})
        for (const bool inside : {true, false})
          for (const bool moved : {true, false}) test_pack(taps, members, n, inside, moved);
  test_pack_columns();
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
