// Convolutions of the emulated GPU, forward, backward and of the weights: near double loops over the definition, the
// values of the CPU's tables that fuse, the same bits for a row alone and in any batch.
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

constexpr double kU = 0x1p-24;
constexpr Index kGap = 3;  // floats between rows

const Kernels& gpu() { return cuda::table(); }

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

// (rows, floats) with a gap of NaN behind each row but the last.
std::vector<float> spread(const std::vector<float>& values, Index rows, Index floats) {
  std::vector<float> out(at(rows * (floats + kGap) - kGap), std::nanf(""));
  for (Index r = 0; r < rows; ++r) std::copy_n(&values[at(r * floats)], floats, &out[at(r * (floats + kGap))]);
  return out;
}
std::vector<float> untouched(Index rows, Index floats) {
  return std::vector<float>(at(rows * (floats + kGap) - kGap), std::nanf(""));
}
// The first rows without their gaps; an empty vector if those were written to.
std::vector<float> gathered(const std::vector<float>& values, Index rows, Index floats) {
  std::vector<float> out;
  for (Index r = 0; r < rows; ++r) {
    const Index row = r * (floats + kGap);
    out.insert(out.end(), values.begin() + row, values.begin() + row + floats);
    for (Index i = row + floats; i < row + floats + kGap && i < static_cast<Index>(values.size()); ++i)
      if (!std::isnan(values[at(i)])) return {};
  }
  return out;
}

// Equal numbers; NaN is not.
bool same_values(const std::vector<float>& a, const std::vector<float>& b) {
  bool same = a.size() == b.size() && !a.empty();
  for (std::size_t i = 0; same && i < a.size(); ++i) same = a[i] == b[i];
  return same;
}

// Sums in double and what bounds their rounding.
struct Oracle {
  std::vector<double> value, size;

  explicit Oracle(Index count) : value(at(count)), size(at(count)) {}
  void add(Index i, double v) { value[at(i)] += v, size[at(i)] += std::fabs(v); }
  bool near(const std::vector<float>& got, Index terms) const {
    bool ok = got.size() == value.size();
    for (std::size_t i = 0; ok && i < got.size(); ++i)
      ok = std::fabs(got[i] - value[i]) <= 1.01 * kU * static_cast<double>(terms + 2) * size[i];
    return ok;
  }
};

// ---- rearrangement ----

void test_arrange(Index rows, Index channels, Index pixels) {
  const Index features = channels * pixels, ld = features + kGap;
  const std::vector<float> x = uniform_floats(rows * features, 1, -1, 1);
  DeviceArray<float> from(spread(x, rows, features)), images(untouched(rows, features)), back(images.host());
  gpu().arrange(nullptr, {rows, 1, channels, pixels, from.data(), ld, images.data(), ld, true});
  const std::vector<float> got = gathered(images.host(), rows, features);
  bool right = !got.empty();
  for (Index r = 0; right && r < rows; ++r)
    for (Index c = 0; c < channels; ++c)
      for (Index p = 0; p < pixels; ++p)
        right &= got[at(r * features + p * channels + c)] == x[at(r * features + c * pixels + p)];
  CHECK(right);
  gpu().arrange(nullptr, {rows, 1, channels, pixels, images.data(), ld, back.data(), ld, false});
  CHECK(same_values(gathered(back.host(), rows, features), x));
}

// ---- convolution ----

// What the kernels want of one direction, in host memory, and the same on the device.
struct Direction {
  Index in_height, in_width, in_channels, out_height, out_width, out_channels;
  Index column_step;
  std::vector<Taps> down, across;
  std::vector<float> packed;

  Index in() const { return in_height * in_width * in_channels; }
  Index out() const { return out_height * out_width * out_channels; }
};

struct ConvCase {
  Index in, out;  // channels
  Window w;
  std::vector<float> weights = uniform_floats(out * in * w.taps(), 3, -1, 1);  // (out, in, taps)

  Index in_pixels() const { return w.down.in * w.across.in; }
  Index out_pixels() const { return w.down.out() * w.across.out(); }
  bool dense() const { return out_pixels() == 1; }
  double weight(Index o, Index i, Index tap) const { return weights[at((o * in + i) * w.taps() + tap)]; }

  // f(output pixel, tap, input pixel) for every tap inside the image.
  template <class F>
  void for_taps(F f) const {
    for (Index oy = 0; oy < w.down.out(); ++oy)
      for (Index ox = 0; ox < w.across.out(); ++ox)
        for (Index ky = 0; ky < w.down.kernel; ++ky)
          for (Index kx = 0; kx < w.across.kernel; ++kx) {
            const Index y = oy * w.down.stride - w.down.padding + ky, x = ox * w.across.stride - w.across.padding + kx;
            if (y >= 0 && y < w.down.in && x >= 0 && x < w.across.in)
              f(oy * w.across.out() + ox, ky * w.across.kernel + kx, y * w.across.in + x);
          }
  }

  std::vector<float> packed(const Kernels& k, bool backward) const {
    std::vector<Index> place(at(w.taps()));
    Index next = 0;
    for (const Index y : w.down.backward_taps())
      for (const Index x : w.across.backward_taps()) place[at(y * w.across.kernel + x)] = next++;
    const Index columns = backward ? in : out, depth = in * w.taps();
    std::vector<float> result(at(w.taps() * (backward ? out : in) * padded(columns)), 0.0f);
    Pack p{out, w.taps(), in, nullptr, nullptr, w.taps(), depth, 0, out, nullptr};
    if (backward) p = {in, w.taps(), out, nullptr, nullptr, depth, w.taps(), 0, in, nullptr};
    if (&k != &gpu()) {
      p.b = weights.data(), p.packed = result.data(), p.place = backward ? place.data() : nullptr;
      k.pack(nullptr, p);
      return result;
    }
    DeviceArray<float> from(weights), to(result);
    DeviceArray<Index> place_gpu(place);
    p.b = from.data(), p.packed = to.data(), p.place = backward ? place_gpu.data() : nullptr;
    k.pack(nullptr, p);
    return to.host();
  }
  Direction direction(const Kernels& k, bool back) const {
    const Axis &d = w.down, &a = w.across;
    if (back) return {d.out(), a.out(), out, d.in, a.in, in, a.stride, d.backward(), a.backward(), packed(k, true)};
    return {d.in, a.in, in, d.out(), a.out(), out, 1, d.forward(), a.forward(), packed(k, false)};
  }
};

Conv descriptor(const ConvCase& c, const Direction& d, Index rows, const Epilogue& end) {
  Conv k;
  k.rows = rows;
  k.in_height = d.in_height, k.in_width = d.in_width, k.in_channels = d.in_channels;
  k.out_height = d.out_height, k.out_width = d.out_width, k.out_channels = d.out_channels;
  k.tap_columns = c.w.across.kernel, k.taps = c.w.taps();
  k.dense = c.dense();
  k.column_step = d.column_step;
  k.ldx = d.in() + kGap, k.ldy = d.out() + kGap;
  k.epilogue = end;
  return k;
}

std::vector<float> on_gpu(const ConvCase& c, const Direction& d, Index rows, const std::vector<float>& x,
                          const Epilogue& end, Stream stream = nullptr, const Kernels& table = gpu()) {
  Conv k = descriptor(c, d, rows, end);
  DeviceArray<Taps> down(d.down), across(d.across);
  DeviceArray<float> b(d.packed), from(spread(x, rows, d.in())), to(untouched(rows, d.out()));
  k.down = down.data(), k.across = across.data();
  k.x = from.data(), k.b = b.data(), k.y = to.data();
  table.conv(stream, k);
  return gathered(to.host(), rows, d.out());
}

// On the CPU, an output is the same chain.
void test_against_cpu(const ConvCase& c, bool back, Index rows, const std::vector<float>& x,
                      const std::vector<float>& wanted) {
  for (const Kernels* table : tables()) {
#ifdef __x86_64__
    if (table->lanes == 1) continue;  // rounds a product before it adds
#endif
    const Direction d = c.direction(*table, back);
    Conv k = descriptor(c, d, rows, {});
    const std::vector<float> from = spread(x, rows, d.in());
    std::vector<float> to = untouched(rows, d.out());
    k.down = d.down.data(), k.across = d.across.data();
    k.x = from.data(), k.b = d.packed.data(), k.y = to.data();
    table->conv(nullptr, k);
    CHECK(same_values(gathered(to, rows, d.out()), wanted));
  }
}

// Bias, activation and derivative are those of the table applied afterwards.
void test_epilogue(const ConvCase& c, const Direction& d, Index rows, const std::vector<float>& x,
                   const std::vector<float>& plain, Activation kind) {
  const Index n = d.out(), ld = n + kGap;
  const std::vector<float> bias_values = uniform_floats(d.out_channels, 6, -1, 1);
  DeviceArray<float> bias(bias_values), before(untouched(rows, n));
  DeviceArray<float> saved(spread(uniform_floats(rows * n, 7, 0.05f, 0.95f, 0.3f), rows, n));
  std::vector<float> sums = plain;
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += bias_values[i % bias_values.size()];
  DeviceArray<float> wanted(spread(sums, rows, n)), back(spread(plain, rows, n));

  Epilogue end;
  end.bias = bias.data();
  end.activation = {kind, 0.5f};
  end.pre_activation = before.data();
  const std::vector<float> activated = on_gpu(c, d, rows, x, end);
  CHECK(same_values(gathered(before.host(), rows, n), sums));
  gpu().activation_forward(nullptr, end.activation, rows, n, wanted.data(), ld, wanted.data(), ld);
  CHECK(same_values(activated, gathered(wanted.host(), rows, n)));

  Epilogue down;
  down.derivative = {kind, 0.5f};
  down.saved = saved.data();
  down.saved_ld = ld;
  const std::vector<float> multiplied = on_gpu(c, d, rows, x, down);
  gpu().activation_backward(nullptr, down.derivative, rows, n, saved.data(), ld, back.data(), ld);
  CHECK(same_values(multiplied, gathered(back.host(), rows, n)));
}

void test_direction(const ConvCase& c, bool back, Index rows) {
  const Direction d = c.direction(gpu(), back);
  const std::vector<float> x = uniform_floats(rows * d.in(), 5, -1, 1, 0.1f);
  const std::vector<float> y = on_gpu(c, d, rows, x, {});
  Oracle oracle(rows * d.out());
  for (Index r = 0; r < rows; ++r)
    c.for_taps([&](Index out, Index tap, Index in) {
      for (Index o = 0; o < c.out; ++o)
        for (Index i = 0; i < c.in; ++i) {
          const Index from = r * d.in() + (back ? out * c.out + o : in * c.in + i);
          oracle.add(r * d.out() + (back ? in * c.in + i : out * c.out + o), x[at(from)] * c.weight(o, i, tap));
        }
    });
  if (!CHECK(oracle.near(y, c.w.taps() * d.in_channels)))
    std::printf("%s, %d -> %d channels\n", back ? "backward" : "forward", static_cast<int>(c.in),
                static_cast<int>(c.out));
  test_against_cpu(c, back, rows, x, y);
  const Index row = rows - 1;  // alone it is the first of its tile
  const std::vector<float> last(x.end() - d.in(), x.end()), alone = on_gpu(c, d, 1, last, {});
  CHECK(!alone.empty() && same_bits(alone.data(), &y[at(row * d.out())], d.out()));
  for (const Activation kind : {Activation::relu, Activation::gelu}) test_epilogue(c, d, rows, x, y, kind);
}

// What the factors are rounded to, on tensor cores that add in float32.
struct Rounding {
  cuda::Precision precision;
  float (*of)(float);
};

// Sums of rounded factors where there are channels enough; else those of float32.
void test_tensor_cores(const ConvCase& c, bool back, Index rows, const Rounding& r) {
  const Kernels& table = cuda::table(r.precision);
  const Direction d = c.direction(gpu(), back);
  const std::vector<float> x = uniform_floats(rows * d.in(), 5, -1, 1, 0.1f);
  const std::vector<float> y = on_gpu(c, d, rows, x, {}, nullptr, table), exact = on_gpu(c, d, rows, x, {});
  if (d.out_channels <= 16) {
    CHECK(same_values(y, exact));
    return;
  }
  CHECK(!same_values(y, exact));
  std::vector<float> rounded_x = x;
  ConvCase rounded = c;
  for (auto* values : {&rounded_x, &rounded.weights})
    for (float& v : *values) v = r.of(v);
  const std::vector<float> wanted = on_gpu(c, rounded.direction(gpu(), back), rows, rounded_x, {});
  Oracle oracle(rows * d.out());
  for (std::size_t i = 0; i < wanted.size(); ++i) oracle.value[i] = static_cast<double>(wanted[i]);
  const Index terms = c.w.taps() * d.in_channels;
  std::fill(oracle.size.begin(), oracle.size.end(), static_cast<double>(terms));  // all factors are within 1
  CHECK(oracle.near(y, 2 * terms));
  const std::vector<float> last(x.end() - d.in(), x.end()), alone = on_gpu(c, d, 1, last, {}, nullptr, table);
  CHECK(!alone.empty() && same_bits(alone.data(), &y[at((rows - 1) * d.out())], d.out()));
}

void test_lower_precisions() {
  const auto tf32 = [](float v) { return cuda::to_tf32(v); };
  const auto bf16 = [](float v) { return cuda::to_float(cuda::to_bf16(v)); };
  for (const Rounding& r : {Rounding{cuda::Precision::tf32, tf32}, {cuda::Precision::bf16, bf16}})
    for (const bool back : {false, true}) {
      test_tensor_cores({17, 20, {{5, 3, 2, 1}, {4, 3, 1, 1}}}, back, 19, r);
      test_tensor_cores({3, 65, {{4, 2, 1, 0}, {3, 3, 2, 2}}}, back, 5, r);
      test_tensor_cores({18, 17, {{3, 3, 1, 0}, {2, 2, 1, 0}}}, back, 2, r);  // every weight serves one output
    }
}

void test_gradient(const ConvCase& c, Index rows) {
  const Index in = c.in * c.in_pixels(), out = c.out * c.out_pixels(), depth = c.w.taps() * c.in;
  const std::vector<float> x = uniform_floats(rows * in, 5, -1, 1, 0.1f), dy = uniform_floats(rows * out, 6, -1, 1);
  Oracle oracle(depth * c.out);
  for (Index r = 0; r < rows; ++r)
    c.for_taps([&](Index pixel, Index tap, Index from) {
      for (Index i = 0; i < c.in; ++i)
        for (Index o = 0; o < c.out; ++o)
          oracle.add((o * c.in + i) * c.w.taps() + tap, static_cast<double>(x[at(r * in + from * c.in + i)]) *
                                                            static_cast<double>(dy[at(r * out + pixel * c.out + o)]));
    });
  DeviceArray<float> x_gpu(spread(x, rows, in)), dy_gpu(spread(dy, rows, out)), whole(depth * c.out);
  ConvGradient g;
  g.rows = rows;
  g.in_height = c.w.down.in, g.in_width = c.w.across.in, g.in_channels = c.in;
  g.out_height = c.w.down.out(), g.out_width = c.w.across.out(), g.out_channels = c.out;
  g.kernel_width = c.w.across.kernel, g.taps = c.w.taps();
  g.stride_down = c.w.down.stride, g.stride_across = c.w.across.stride;
  g.padding_down = c.w.down.padding, g.padding_across = c.w.across.padding;
  g.x = x_gpu.data(), g.ldx = in + kGap;
  g.dy = dy_gpu.data(), g.ldy = out + kGap;
  g.last = depth;
  g.gradient = whole.data();
  gpu().conv_gradient(nullptr, g);
  const std::vector<float> wanted = whole.host();
  CHECK(oracle.near(wanted, rows * c.out_pixels()));
  DeviceArray<float> parts(depth * c.out);
  g.gradient = parts.data();
  for (g.first = 0; g.first < depth; g.first = g.last) {
    g.last = std::min(depth, g.first + depth / 3 + 1);
    gpu().conv_gradient(nullptr, g);
  }
  CHECK(same_bits(parts.host(), wanted));
}

void test_conv(const ConvCase& c, Index rows) {
  test_direction(c, false, rows);
  test_direction(c, true, rows);
  test_gradient(c, rows);
}

// Rows that are done are left alone.
void test_active() {
  const ConvCase c{2, 3, {{4, 3, 1, 1}, {4, 3, 1, 1}}};
  const Direction d = c.direction(gpu(), false);
  const std::vector<float> x = uniform_floats(9 * d.in(), 5, -1, 1);
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{5});
  cuda::DeviceStream stream{nullptr, active.data()};
  const std::vector<float> whole = on_gpu(c, d, 9, x, {}), some = on_gpu(c, d, 9, x, {}, &stream);
  CHECK(same_bits(whole.data(), some.data(), 5 * d.out()));
  bool left = true;
  for (Index i = 5 * d.out(); i < 9 * d.out(); ++i) left &= std::isnan(some[at(i)]);
  CHECK(left);
  DeviceArray<float> from(x), to(std::vector<float>(x.size(), -7.0f));
  gpu().arrange(&stream, {9, 1, 2, 16, from.data(), 32, to.data(), 32, true});
  const std::vector<float> moved = to.host();
  for (Index i = 0; i < 9 * 32; ++i) left &= (moved[at(i)] == -7.0f) == (i >= 5 * 32);
  CHECK(left);
}

}  // namespace

int main() {
  for (const Index channels : {1, 2, 3, 17, 33})
    for (const Index pixels : {1, 5, 31})
      for (const Index rows : {1, 9}) test_arrange(rows, channels, pixels);
  // Axes: size, kernel, stride, padding.
  const Window windows[] = {
      {{1, 1, 1, 0}, {1, 1, 1, 0}}, {{1, 3, 1, 1}, {1, 3, 1, 1}}, {{4, 4, 1, 0}, {3, 3, 1, 0}},
      {{7, 2, 3, 0}, {8, 2, 3, 0}}, {{6, 3, 1, 1}, {5, 3, 1, 1}}, {{7, 4, 2, 1}, {6, 4, 2, 1}},
      {{5, 2, 1, 0}, {9, 5, 3, 2}}, {{3, 1, 9, 0}, {3, 2, 1, 1}}, {{1, 1, 1, 0}, {17, 4, 2, 0}},
  };
  for (const Window& w : windows) test_conv({3, 5, w}, 15);
  test_conv({2, 3, {{2, 2, 1, 3}, {3, 2, 2, 3}}}, 3);  // a border wider than the kernel: outputs that read nothing
  const Window small{{3, 2, 1, 1}, {2, 2, 1, 0}};
  for (const Index in : {1, 3, 17})
    for (const Index out : {1, 5, 16, 17, 65}) test_conv({in, out, small}, 2);
  test_conv({65, 2, small}, 2);
  for (const Index rows : {1, 2, 31, 33, 65, 97}) test_conv({2, 5, {{3, 3, 2, 1}, {4, 3, 2, 1}}}, rows);
  test_active();
  test_lower_precisions();
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
