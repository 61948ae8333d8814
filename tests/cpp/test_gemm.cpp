// Matrix products on every table: against a double oracle, between guards, the same bits for every number of rows, and
// every epilogue against its composition.
#include "check.h"
#include "dispatch.h"
#include "guarded.h"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr Index kRows = 97;
constexpr double kU = 0x1p-24;

// B (k, n), packed for a table.
struct Packed {
  const Kernels& table;
  Index k, n;
  Guarded<float> b;

  Packed(const Kernels& t, Index depth, Index width, std::vector<float>& values)
      : table(t), k(depth), n(width), b(depth * padded(width)) {
    Guarded<float> plain(values);
    table.pack(nullptr, {n, 1, k, plain.data(), nullptr, n, 1, 0, n, b.data()});
    CHECK(plain.intact() && b.intact());
  }
  Gemm product(Index m, Guarded<float>& a, Guarded<float>& c, Index ldc) {
    Gemm g;
    g.m = m, g.n = n, g.k = k;
    g.a = a.data(), g.a_row = k;
    g.b = b.data();
    g.last = n;
    g.c = c.data(), g.ldc = ldc;
    return g;
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
};

bool near_oracle(const Oracle& oracle, const std::vector<float>& c, Index k) {
  bool ok = true;
  for (std::size_t i = 0; i < c.size(); ++i)
    ok &= std::fabs(c[i] - oracle.value[i]) <= 1.01 * kU * static_cast<double>(k + 1) * oracle.size[i];
  return ok;
}

// Rows that are not padded to vectors, with a gap between them that nobody may touch.
void test_rows_and_guards(Packed& b, const std::vector<float>& a_values, const std::vector<float>& whole) {
  for (const Index m : kSizes) {
    const Index ldc = b.n + 3;
    Guarded<float> a(std::vector<float>(a_values.begin(), a_values.begin() + m * b.k)), c((m - 1) * ldc + b.n);
    b.table.gemm(nullptr, b.product(m, a, c, ldc));
    bool same = true, untouched = true;
    for (Index i = 0; i < m; ++i) {
      same &= same_bits(&c[i * ldc], whole.data() + i * b.n, b.n);
      for (Index j = b.n; j < ldc && i + 1 < m; ++j) untouched &= c[i * ldc + j] != c[i * ldc + j];
    }
    CHECK(same);
    CHECK(untouched && a.intact() && c.intact() && b.b.intact());
  }
}

void test_single_rows(Packed& b, const std::vector<float>& a_values, const std::vector<float>& whole) {
  for (const Index row : {0, 13, 50, 96}) {
    Guarded<float> a(std::vector<float>(a_values.begin() + row * b.k, a_values.begin() + (row + 1) * b.k)), c(b.n);
    b.table.gemm(nullptr, b.product(1, a, c, b.n));
    CHECK(same_bits(c.data(), whole.data() + row * b.n, b.n));
    CHECK(c.intact());
  }
}

// A team computes a product's panels one by one.
void test_columns(Packed& b, Guarded<float>& a, const std::vector<float>& whole) {
  for (const Index m : {Index{1}, kRows}) {
    Guarded<float> c(m * b.n);
    for (Index first = 0; first < b.n; first += b.table.panel) {
      Gemm g = b.product(m, a, c, b.n);
      g.first = first;
      g.last = std::min(b.n, first + b.table.panel);
      b.table.gemm(nullptr, g);
    }
    CHECK(same_bits(c.data(), whole.data(), m * b.n) && c.intact());
  }
}

// A^T with its rows along k, as parameter gradients have it.
void test_transposed(Packed& b, const std::vector<float>& a_values, const std::vector<float>& whole) {
  for (const Index m : {Index{1}, Index{5}, kRows}) {
    Guarded<float> a(b.k * m), c(m * b.n);
    for (Index i = 0; i < m; ++i)
      for (Index p = 0; p < b.k; ++p) a[p * m + i] = a_values[i * b.k + p];
    Gemm g = b.product(m, a, c, b.n);
    g.a_row = 1, g.a_k = m;
    b.table.gemm(nullptr, g);
    CHECK(same_bits(c.data(), whole.data(), m * b.n) && c.intact());
  }
}

void test_product(Index k, Index n) {
  const auto seed = static_cast<unsigned>(1000 * k + n);
  const std::vector<float> a_values = uniform_floats(kRows * k, seed, -1, 1, 0.3f);
  std::vector<float> b_values = uniform_floats(k * n, seed + 1, -1, 1);
  const Oracle oracle(k, n, a_values, b_values);
  for (const Kernels* table : tables()) {
    Packed b(*table, k, n, b_values);
    Guarded<float> a(a_values), c(kRows * n);
    table->gemm(nullptr, b.product(kRows, a, c, n));
    const std::vector<float> whole = c.copy();
    if (!CHECK(near_oracle(oracle, whole, k)))
      std::printf("%s, k %d, n %d\n", table->name, static_cast<int>(k), static_cast<int>(n));
    test_rows_and_guards(b, a_values, whole);
    test_single_rows(b, a_values, whole);
    test_columns(b, a, whole);
    test_transposed(b, a_values, whole);
  }
}

// A single row longer than the list of its non-zeros may be.
void test_long_row() {
  const Index k = 8192 + 300, n = 17;
  std::vector<float> b_values = uniform_floats(k * n, 1, -1, 1);
  const std::vector<float> a_values = uniform_floats(2 * k, 2, -1, 1, 0.5f);
  for (const Kernels* table : tables()) {
    Packed b(*table, k, n, b_values);
    Guarded<float> a(a_values), both(2 * n), one(n);
    table->gemm(nullptr, b.product(2, a, both, n));
    table->gemm(nullptr, b.product(1, a, one, n));
    CHECK(same_bits(one.data(), both.data(), n));
  }
}

// Products that underflow to -0 meet zeros that the single-row path skips.
void test_negative_zero() {
  const Index k = 6, n = 5;
  std::vector<float> b_values = uniform_floats(k * n, 3, 1e-30f, 2e-30f);
  std::vector<float> a_values(2 * k, 0.0f);
  a_values[1] = a_values[k + 1] = -1e-30f;
  for (const Kernels* table : tables()) {
    Packed b(*table, k, n, b_values);
    Guarded<float> a(a_values), both(2 * n), one(n);
    table->gemm(nullptr, b.product(2, a, both, n));
    table->gemm(nullptr, b.product(1, a, one, n));
    CHECK(same_bits(one.data(), both.data(), n));
  }
}

// The product of few columns, from B^T (n, k) packed for the way back.
void test_dots(Index k, Index n) {
  const auto seed = static_cast<unsigned>(1000 * k + n + 7);
  const std::vector<float> a_values = uniform_floats(kRows * k, seed, -1, 1, 0.3f);
  const std::vector<float> b_values = uniform_floats(k * n, seed + 1, -1, 1);
  std::vector<float> transposed(b_values.size());
  for (Index p = 0; p < k; ++p)
    for (Index j = 0; j < n; ++j) transposed[j * k + p] = b_values[p * n + j];
  const Oracle oracle(k, n, a_values, b_values);
  for (const Kernels* table : tables()) {
    Packed b(*table, n, k, transposed);
    const auto product = [&](Index m, Guarded<float>& a, Guarded<float>& c, Index ldc) {
      Gemm g = b.product(m, a, c, ldc);
      g.n = g.last = n, g.k = g.a_row = k;
      table->dots(nullptr, g);
      CHECK(a.intact() && b.b.intact() && c.intact());
    };
    Guarded<float> a(a_values), c(kRows * n);
    product(kRows, a, c, n);
    CHECK(near_oracle(oracle, c.copy(), k));
    for (const Index m : kSizes) {
      const Index ldc = n + 3;
      Guarded<float> first(std::vector<float>(a_values.begin(), a_values.begin() + m * k)), some((m - 1) * ldc + n);
      product(m, first, some, ldc);
      bool same = true;
      for (Index i = 0; i < m; ++i) same &= same_bits(&some[i * ldc], c.data() + i * n, n);
      CHECK(same);
    }
    Guarded<float> bias(uniform_floats(n, 6, -1, 1)), activated(kRows * n);
    Gemm g = b.product(kRows, a, activated, n);
    g.n = g.last = n, g.k = g.a_row = k;
    g.epilogue.bias = bias.data();
    g.epilogue.activation = {Activation::relu, 0.0f};
    table->dots(nullptr, g);
    bool right = true;
    for (Index i = 0; i < kRows * n; ++i) right &= activated[i] == std::max(0.0f, c[i] + bias[i % n]);
    CHECK(right && activated.intact());
  }
}

// ---- epilogues ----

constexpr Index kDepth = 65;

struct EpilogueCase {
  Packed& b;
  Index m;
  Guarded<float> a;
  std::vector<float> plain;  // the product without an epilogue

  EpilogueCase(Packed& packed, Index rows) : b(packed), m(rows), a(uniform_floats(rows * packed.k, 5, -1, 1, 0.3f)) {
    if (m > 1)  // a row without a gradient
      for (Index p = 0; p < b.k; ++p) a[b.k + p] = 0.0f;
    Guarded<float> c(m * b.n);
    b.table.gemm(nullptr, b.product(m, a, c, b.n));
    plain = c.copy();
  }
};

void test_forward(EpilogueCase& t, ActivationSpec spec) {
  const Index n = t.b.n, count = t.m * n;
  Guarded<float> bias(uniform_floats(n, 6, -1, 1)), c(count), before(count), wanted(count), sums(t.plain);
  Gemm g = t.b.product(t.m, t.a, c, n);
  g.epilogue.bias = bias.data();
  g.epilogue.activation = spec;
  g.epilogue.pre_activation = before.data();
  t.b.table.gemm(nullptr, g);
  for (Index i = 0; i < count; ++i) sums[i] += bias[i % n];
  t.b.table.activation_forward(nullptr, spec, t.m, n, sums.data(), n, wanted.data(), n);
  CHECK(same_bits(before.data(), sums.data(), count));
  CHECK(same_bits(c.data(), wanted.data(), count));
  CHECK(c.intact() && before.intact() && wanted.intact() && bias.intact());
}

void test_derivative(EpilogueCase& t, ActivationSpec spec) {
  const Index n = t.b.n, count = t.m * n, lds = n + 2;
  Guarded<float> saved(uniform_floats((t.m - 1) * lds + n, 7, 0.05f, 0.95f, 0.3f)), c(count), wanted(t.plain);
  Gemm g = t.b.product(t.m, t.a, c, n);
  g.epilogue.derivative = spec;
  g.epilogue.saved = saved.data();
  g.epilogue.saved_ld = lds;
  t.b.table.gemm(nullptr, g);
  t.b.table.activation_backward(nullptr, spec, t.m, n, saved.data(), lds, wanted.data(), n);
  CHECK(same_bits(c.data(), wanted.data(), count));
  CHECK(c.intact() && wanted.intact());
}

void test_step(EpilogueCase& t) {
  const Index n = t.b.n, count = t.m * n;
  const std::vector<float> start = uniform_floats(count, 8, 0, 1);
  std::vector<float> low = start, high = start;
  for (Index i = 0; i < count; ++i) low[i] -= 0.05f, high[i] += i % 3 == 0 ? 0.0f : 0.2f;
  Guarded<float> x(start), wanted(start), lo(low), hi(high), gradient(t.plain), unused(1);
  Guarded<float> size(uniform_floats(t.m, 9, 0.01f, 0.3f));
  Guarded<std::uint8_t> moving(std::vector<std::uint8_t>(t.m)), moved(std::vector<std::uint8_t>(t.m));
  const SignStep step{x.data(), lo.data(), hi.data(), n, size.data(), moving.data()};
  Gemm g = t.b.product(t.m, t.a, unused, 0);
  g.epilogue.step = &step;
  t.b.table.gemm(nullptr, g);
  StepRows alone;
  alone.ball = {Norm::linf, t.m, n, wanted.data(), wanted.data(), lo.data(), hi.data(), n, nullptr};
  alone.gradient = gradient.data();
  alone.gradient_ld = n;
  alone.size = size.data();
  alone.moving = moved.data();
  t.b.table.step(nullptr, alone);
  CHECK(same_bits(x.data(), wanted.data(), count));
  CHECK(same_bits(moving.data(), moved.data(), t.m));
  CHECK(moving[0] == 1 && (t.m == 1 || moving[1] == 0));
  CHECK(x.intact() && wanted.intact() && moving.intact() && unused.intact());
}

void test_epilogues(Index n) {
  std::vector<float> b_values = uniform_floats(kDepth * n, 4, -1, 1);
  for (const Kernels* table : tables()) {
    Packed b(*table, kDepth, n, b_values);
    for (const Index m : {1, 2, 17}) {
      EpilogueCase t(b, m);
      for (int kind = 0; kind <= static_cast<int>(Activation::quadratic); ++kind) {
        test_forward(t, {static_cast<Activation>(kind), 0.5f});
        test_derivative(t, {static_cast<Activation>(kind), 0.5f});
      }
      test_step(t);
    }
  }
}

// Weights taken with any strides, taps moved, are packed as the same matrix is that was written out row by row.
void test_pack(Index taps, Index members, Index n, bool taps_inside, bool moved) {
  const Index k = taps * members;
  std::vector<float> weights = uniform_floats(k * n, static_cast<unsigned>(k + n), -1, 1);
  std::vector<Index> place(static_cast<std::size_t>(taps));
  for (Index t = 0; t < taps; ++t) place[static_cast<std::size_t>(t)] = moved ? (t + taps / 2) % taps : t;
  // (n, members, taps) or (members, n, taps)
  const Index member_stride = taps_inside ? taps : n * taps, n_stride = taps_inside ? k : taps;
  std::vector<float> rows(weights.size());
  for (Index t = 0; t < taps; ++t)
    for (Index m = 0; m < members; ++m)
      for (Index j = 0; j < n; ++j)
        rows[(place[static_cast<std::size_t>(t)] * members + m) * n + j] =
            weights[t + m * member_stride + j * n_stride];
  for (const Kernels* table : tables()) {
    const Packed expected(*table, k, n, rows);
    Guarded<float> b(weights), packed(k * padded(n));
    const Pack p{n,        taps, members, b.data(),     moved ? place.data() : nullptr, member_stride,
                 n_stride, 0,    n,       packed.data()};
    table->pack(nullptr, p);
    CHECK(b.intact() && packed.intact());
    CHECK(same_bits(packed.data(), expected.b.data(), n / table->panel * table->panel * k));
    std::vector<float> ones(static_cast<std::size_t>(k));
    for (Index i = 0; i < k; ++i) ones[static_cast<std::size_t>(i)] = static_cast<float>(1 + i % 5);
    Guarded<float> a(ones), c(n), d(n);
    Gemm g{1, n, k, a.data(), k, 1, packed.data(), 0, n, c.data(), n, {}};
    table->gemm(nullptr, g);
    g.b = expected.b.data(), g.c = d.data();
    table->gemm(nullptr, g);
    CHECK(same_bits(c.data(), d.data(), n));
  }
}

}  // namespace

int main() {
  for (const Index n : kSizes) {
    for (const Index k : kSizes) test_product(k, n);
    test_epilogues(n);
  }
  for (const Index k : {255, 256, 257, 513}) test_product(k, 33);
  for (const Index n : {1, 2, 5, 6, 7, 10, 12, 13, 16})
    for (const Index k : {1, 7, 15, 16, 17, 63, 64, 65, 97, 129, 784}) test_dots(k, n);
  for (const Index taps : {1, 4, 16, 25, 49})
    for (const Index members : {1, 3, 16, 33})
      for (const Index n : {1, 3, 17, 65, 100})
        for (const bool inside : {true, false})
          for (const bool moved : {true, false}) test_pack(taps, members, n, inside, moved);
  test_long_row();
  test_negative_zero();
  return finish();
}
