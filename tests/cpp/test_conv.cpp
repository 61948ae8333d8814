// The kernels of images on every table: against double loops over the definition, between guards, the same bits for
// every number of rows, one by one or interleaved.
#include "check.h"
#include "dispatch.h"
#include "guarded.h"
#include "layers/window.h"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr double kU = 0x1p-24;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

// Rows of images as callers have them, (rows, channels, pixels), and a stride that leaves a gap behind each.
struct Rowwise {
  Index rows, channels, pixels;
  std::vector<float> values;

  Rowwise(Index r, Index c, Index p, unsigned seed, float zeros = 0.1f)
      : rows(r), channels(c), pixels(p), values(uniform_floats(r * c * p, seed, -1, 1, zeros)) {}
  double operator()(Index r, Index c, Index p) const { return values[at((r * channels + c) * pixels + p)]; }
};

// The same in blocks of `lanes` rows, channels last, with the table's lanes that no row fills 0, and a gap of NaN.
struct Blocks {
  Index rows, channels, pixels, lanes, ld;
  Guarded<float> data;

  Index blocks() const { return (rows + lanes - 1) / lanes; }
  static Index floats(Index rows, Index lanes, Index ld, Index features) {
    const Index blocks = (rows + lanes - 1) / lanes;
    return (blocks - 1) * ld * lanes + features * lanes;
  }
  Blocks(Index r, Index c, Index p, Index l)
      : rows(r), channels(c), pixels(p), lanes(l), ld(c * p + 3), data(floats(r, l, ld, c * p)) {}
  Blocks(const Rowwise& x, Index l) : Blocks(x.rows, x.channels, x.pixels, l) {
    for (Index b = 0; b < blocks(); ++b)
      for (Index i = 0; i < channels * pixels * lanes; ++i) data[b * ld * lanes + i] = 0.0f;
    for (Index row = 0; row < rows; ++row)
      for (Index ch = 0; ch < channels; ++ch)
        for (Index px = 0; px < pixels; ++px) (*this)(row, ch, px) = x.values[at((row * channels + ch) * pixels + px)];
  }
  float& operator()(Index row, Index ch, Index px) {
    return data[row / lanes * ld * lanes + (px * channels + ch) * lanes + row % lanes];
  }
  // What lies between the blocks is as it was: NaN.
  bool gaps_untouched() {
    bool ok = true;
    for (Index b = 0; b + 1 < blocks(); ++b)
      for (Index i = channels * pixels * lanes; i < ld * lanes; ++i) ok &= std::isnan(data[b * ld * lanes + i]);
    return ok && data.intact();
  }
};

bool same_images(Blocks& a, Blocks& b) {
  bool same = true;
  for (Index r = 0; r < std::min(a.rows, b.rows); ++r)
    for (Index c = 0; c < a.channels; ++c)
      for (Index p = 0; p < a.pixels; ++p) same &= same_bits(&a(r, c, p), &b(r, c, p), 1);
  return same;
}

// ---- rearrangement ----

void test_arrange(const Kernels& table, Index rows, Index lanes, Index channels, Index pixels) {
  const Index features = channels * pixels, ld = features + 2;
  const Rowwise x(rows, channels, pixels, 1);
  Guarded<float> from((rows - 1) * ld + features), back((rows - 1) * ld + features);
  for (Index r = 0; r < rows; ++r)
    for (Index i = 0; i < features; ++i) from[r * ld + i] = x.values[at(r * features + i)];
  Blocks images(rows, channels, pixels, lanes), wanted(x, lanes);
  table.arrange(nullptr, {rows, lanes, channels, pixels, from.data(), ld, images.data.data(), images.ld, true});
  bool same = true;  // empty lanes included
  for (Index b = 0; b < images.blocks(); ++b)
    same &= same_bits(&images.data[b * images.ld * lanes], &wanted.data[b * images.ld * lanes], features * lanes);
  CHECK(same && images.gaps_untouched() && from.intact());
  table.arrange(nullptr, {rows, lanes, channels, pixels, images.data.data(), images.ld, back.data(), ld, false});
  bool returned = true;
  for (Index r = 0; r < rows; ++r) {
    returned &= same_bits(&back[r * ld], &from[r * ld], features);
    for (Index i = features; i < ld && r + 1 < rows; ++i) returned &= std::isnan(back[r * ld + i]);
  }
  CHECK(returned && back.intact() && images.data.intact());
}

// ---- convolution ----

struct ConvCase {
  Index in, out;
  Window w;

  Index in_pixels() const { return w.down.in * w.across.in; }
  Index out_pixels() const { return w.down.out() * w.across.out(); }
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
};

// The weights as a matrix (tap, in) x out.
struct Weights {
  std::vector<float> values;
  Guarded<float> packed;

  Weights(const Kernels& table, const ConvCase& c)
      : values(uniform_floats(c.w.taps() * c.in * c.out, 3, -1, 1)), packed(c.w.taps() * c.in * padded(c.out)) {
    Guarded<float> plain(values);
    table.pack(nullptr, {c.out, 1, c.w.taps() * c.in, plain.data(), nullptr, c.out, 1, 0, c.out, packed.data()});
    CHECK(packed.intact());
  }
};

void run_conv(const Kernels& table, const ConvCase& c, Weights& weights, Blocks& x, Blocks& y, const Epilogue& end,
              bool sparse = false) {
  Guarded<Taps> down(c.w.down.forward()), across(c.w.across.forward());
  Conv k;
  k.rows = x.rows, k.lanes = x.lanes;
  k.in_height = c.w.down.in, k.in_width = c.w.across.in, k.in_channels = c.in;
  k.out_height = c.w.down.out(), k.out_width = c.w.across.out(), k.out_channels = c.out;
  k.tap_columns = c.w.across.kernel, k.taps = c.w.taps();
  k.down = down.data(), k.across = across.data();
  k.x = x.data.data(), k.ldx = x.ld;
  k.b = weights.packed.data();
  k.y = y.data.data(), k.ldy = y.ld;
  k.epilogue = end;
  k.sparse = sparse;
  table.conv(nullptr, k);
  CHECK(y.gaps_untouched() && x.data.intact() && weights.packed.intact() && down.intact() && across.intact());
}

bool near_definition(const ConvCase& c, const Rowwise& x, Weights& weights, Guarded<float>& bias, Blocks& y) {
  bool ok = true;
  for (Index r = 0; r < x.rows; ++r)
    for (Index o = 0; o < c.out; ++o) {
      std::vector<double> value(at(c.out_pixels()), bias[o]), size(value.size(), std::fabs(bias[o]));
      c.for_taps([&](Index out, Index tap, Index in) {
        for (Index i = 0; i < c.in; ++i) {
          const double v = x(r, i, in) * static_cast<double>(weights.values[at((tap * c.in + i) * c.out + o)]);
          value[at(out)] += v, size[at(out)] += std::fabs(v);
        }
      });
      const double n = static_cast<double>(c.w.taps() * c.in + 2);
      for (Index p = 0; p < c.out_pixels(); ++p)
        ok &= std::fabs(y(r, o, p) - value[at(p)]) <= 1.01 * kU * n * size[at(p)];
    }
  return ok;
}

// The derivative, and an activation with what it needs kept, are those of the table applied afterwards.
void test_epilogues(const Kernels& table, const ConvCase& c, Weights& weights, Blocks& x, Blocks& plain,
                    Guarded<float>& bias) {
  const Index width = c.out * c.out_pixels() * x.lanes, ld = plain.ld * x.lanes;
  for (const Activation kind : {Activation::relu, Activation::tanh, Activation::gelu}) {
    Blocks y(x.rows, c.out, c.out_pixels(), x.lanes), before(x.rows, c.out, c.out_pixels(), x.lanes);
    Blocks wanted(x.rows, c.out, c.out_pixels(), x.lanes);
    Epilogue end;
    end.bias = bias.data();
    end.activation = {kind, 0.5f};
    end.pre_activation = before.data.data();
    run_conv(table, c, weights, x, y, end);
    CHECK(before.gaps_untouched() && same_images(before, plain));
    table.activation_forward(nullptr, end.activation, x.blocks(), width, plain.data.data(), ld, wanted.data.data(), ld);
    CHECK(same_images(y, wanted));

    Blocks saved(Rowwise(x.rows, c.out, c.out_pixels(), 7), x.lanes), dx(x.rows, c.out, c.out_pixels(), x.lanes);
    Blocks alone(x.rows, c.out, c.out_pixels(), x.lanes);
    Epilogue back;
    back.bias = bias.data();
    run_conv(table, c, weights, x, alone, back);
    back.derivative = {kind, 0.5f};
    back.saved = saved.data.data();
    back.saved_ld = saved.ld;
    run_conv(table, c, weights, x, dx, back);
    table.activation_backward(nullptr, back.derivative, x.blocks(), width, saved.data.data(), ld, alone.data.data(),
                              ld);
    CHECK(same_images(dx, alone) && saved.data.intact());
  }
}

// Zeros that are skipped change no bit; `zeros` of the inputs are.
void test_sparse(const Kernels& table, const ConvCase& c, Weights& weights, Index rows, Index lanes, float zeros) {
  Blocks x(Rowwise(rows, c.in, c.in_pixels(), 5, zeros), lanes);
  Blocks dense(rows, c.out, c.out_pixels(), lanes), sparse(rows, c.out, c.out_pixels(), lanes);
  Blocks saved(Rowwise(rows, c.out, c.out_pixels(), 7), lanes);
  for (const Activation kind : {Activation::identity, Activation::relu, Activation::tanh}) {
    Epilogue end;
    end.derivative = {kind, 0.0f};
    if (kind != Activation::identity) end.saved = saved.data.data();
    end.saved_ld = saved.ld;
    run_conv(table, c, weights, x, dense, end);
    run_conv(table, c, weights, x, sparse, end, true);
    CHECK(same_images(sparse, dense) && saved.data.intact());
  }
}

void test_gradient(const Kernels& table, const ConvCase& c, const Rowwise& rowwise) {
  const Rowwise back(rowwise.rows, c.out, c.out_pixels(), 11);
  Blocks x(rowwise, 1), dy(back, 1);
  const Index depth = c.w.taps() * c.in;
  std::vector<double> value(at(depth * c.out)), size(value.size());
  for (Index r = 0; r < rowwise.rows; ++r)
    c.for_taps([&](Index out, Index tap, Index in) {
      for (Index i = 0; i < c.in; ++i)
        for (Index o = 0; o < c.out; ++o) {
          const double v = rowwise(r, i, in) * back(r, o, out);
          const std::size_t weight = at((o * c.in + i) * c.w.taps() + tap);
          value[weight] += v, size[weight] += std::fabs(v);
        }
    });
  std::vector<float> whole;
  for (const Index each : {depth, Index{1}, Index{8}}) {  // in one part, or several
    Guarded<float> gradient(depth * c.out);
    for (Index first = 0; first < depth; first += each) {
      const Index last = std::min(depth, first + each);
      ConvGradient g;
      g.rows = rowwise.rows;
      g.in_height = c.w.down.in, g.in_width = c.w.across.in, g.in_channels = c.in;
      g.out_height = c.w.down.out(), g.out_width = c.w.across.out(), g.out_channels = c.out;
      g.kernel_width = c.w.across.kernel, g.taps = c.w.taps();
      g.stride_down = c.w.down.stride, g.stride_across = c.w.across.stride;
      g.padding_down = c.w.down.padding, g.padding_across = c.w.across.padding;
      g.x = x.data.data(), g.ldx = x.ld;
      g.dy = dy.data.data(), g.ldy = dy.ld;
      g.first = first, g.last = last;
      g.gradient = gradient.data();
      table.conv_gradient(nullptr, g);
      CHECK(gradient.intact() && x.data.intact() && dy.data.intact());
    }
    const std::vector<float> parts = gradient.copy();
    if (whole.empty()) whole = parts;
    CHECK(same_bits(whole, parts));
  }
  bool ok = true;
  const double n = static_cast<double>(rowwise.rows * c.out_pixels() + 2);
  for (std::size_t i = 0; i < whole.size(); ++i) ok &= std::fabs(whole[i] - value[i]) <= 1.01 * kU * n * size[i];
  CHECK(ok);
}

void test_conv(const ConvCase& c) {
  for (const Kernels* table : tables()) {
    const Rowwise rowwise(2 * table->lanes + 1, c.in, c.in_pixels(), 5);
    Weights weights(*table, c);
    Guarded<float> bias(uniform_floats(c.out, 6, -1, 1));
    Epilogue end;
    end.bias = bias.data();
    Blocks x(rowwise, 1), y(rowwise.rows, c.out, c.out_pixels(), 1);
    run_conv(*table, c, weights, x, y, end);
    if (!CHECK(near_definition(c, rowwise, weights, bias, y)))
      std::printf("%s, %d -> %d channels\n", table->name, static_cast<int>(c.in), static_cast<int>(c.out));
    test_epilogues(*table, c, weights, x, y, bias);
    for (const Index rows : {Index{1}, table->lanes - 1, table->lanes, table->lanes + 1, rowwise.rows}) {
      if (rows == 0) continue;
      Rowwise first(rows, c.in, c.in_pixels(), 5);
      std::copy_n(rowwise.values.begin(), first.values.size(), first.values.begin());
      Blocks some(first, table->lanes), result(rows, c.out, c.out_pixels(), table->lanes);
      run_conv(*table, c, weights, some, result, end);
      CHECK(same_images(result, y));
      if (rows > table->lanes) test_epilogues(*table, c, weights, some, result, bias);
    }
    for (const Index lanes : {Index{1}, table->lanes})
      for (const float zeros : {0.0f, 0.8f}) test_sparse(*table, c, weights, table->lanes + 1, lanes, zeros);
    test_gradient(*table, c, rowwise);
    CHECK(bias.intact());
  }
}

// ---- pooling ----

void test_pool(const ConvCase& c, PoolKind kind) {
  for (const Kernels* table : tables())
    for (const Index lanes : {Index{1}, table->lanes}) {
      const Rowwise rowwise(table->lanes + 1, c.in, c.in_pixels(), 8), back(rowwise.rows, c.in, c.out_pixels(), 9);
      Blocks x(rowwise, lanes), dy(back, lanes), y(x.rows, c.in, c.out_pixels(), lanes);
      Blocks dx(x.rows, c.in, c.in_pixels(), lanes);
      Guarded<Taps> down(c.w.down.forward()), across(c.w.across.forward());
      Pool p;
      p.kind = kind;
      p.rows = x.blocks();
      p.in_height = c.w.down.in, p.in_width = c.w.across.in;
      p.out_height = c.w.down.out(), p.out_width = c.w.across.out();
      p.channels = c.in * lanes;
      p.taps = c.w.taps();
      p.down = down.data(), p.across = across.data();
      p.x = x.data.data(), p.ldx = x.ld * lanes;
      p.y = y.data.data(), p.ldy = y.ld * lanes;
      p.dy = dy.data.data(), p.lddy = dy.ld * lanes;
      p.dx = dx.data.data(), p.lddx = dx.ld * lanes;
      table->pool_forward(nullptr, p);
      table->pool_backward(nullptr, p);
      CHECK(y.gaps_untouched() && dx.gaps_untouched() && x.gaps_untouched() && dy.gaps_untouched());
      CHECK(down.intact() && across.intact());
      bool forward = true, backward = true;
      const double taps = static_cast<double>(p.taps);
      for (Index r = 0; r < x.rows; ++r)
        for (Index ch = 0; ch < c.in; ++ch) {
          std::vector<double> value(at(c.out_pixels()), kind == PoolKind::max ? -2.0 : 0.0), size(value.size());
          std::vector<double> gradient(at(c.in_pixels())), reach(gradient.size());
          std::vector<Index> winner(value.size(), -1);
          c.for_taps([&](Index out, Index, Index in) {
            const double v = rowwise(r, ch, in);
            size[at(out)] += std::fabs(v) / taps;
            if (kind == PoolKind::average)
              value[at(out)] += v / taps;
            else if (v > value[at(out)])
              value[at(out)] = v, winner[at(out)] = in;
          });
          c.for_taps([&](Index out, Index, Index in) {
            const double v = back(r, ch, out) / (kind == PoolKind::max ? 1.0 : taps);
            if (kind == PoolKind::max && winner[at(out)] != in) return;
            gradient[at(in)] += v, reach[at(in)] += std::fabs(v);
          });
          const double bound = kind == PoolKind::max ? 0.0 : 1.01 * kU * (taps + 2);
          for (Index q = 0; q < c.out_pixels(); ++q)
            forward &= std::fabs(y(r, ch, q) - value[at(q)]) <= bound * size[at(q)];
          for (Index q = 0; q < c.in_pixels(); ++q)
            backward &= std::fabs(dx(r, ch, q) - gradient[at(q)]) <= 1.01 * kU * (taps + 2) * reach[at(q)];
        }
      CHECK(forward);
      CHECK(backward);
    }
}

// ---- channels ----

void test_scale(const Kernels& table, Index lanes, Index channels, Index pixels, bool all) {
  const Index rows = table.lanes + 1;
  const Rowwise plain(rows, channels, pixels, 1), other(rows, channels, pixels, 2);
  Blocks x(plain, lanes), add(other, lanes), y(rows, channels, pixels, lanes), before(rows, channels, pixels, lanes);
  Guarded<float> center(uniform_floats(channels, 3, -1, 1)), scale(uniform_floats(channels, 4, -2, 2));
  Guarded<float> shift(uniform_floats(channels, 5, -1, 1)), add_scale(uniform_floats(channels, 6, -2, 2));
  ScaleChannels s;
  s.rows = x.blocks(), s.lanes = lanes, s.pixels = pixels, s.channels = channels;
  s.x = x.data.data(), s.ldx = x.ld * lanes;
  s.scale = scale.data();
  s.y = y.data.data(), s.ldy = y.ld * lanes;
  if (all) {
    s.center = center.data(), s.shift = shift.data();
    s.add = add.data.data(), s.ld_add = add.ld * lanes, s.add_scale = add_scale.data();
    s.activation = {Activation::relu, 0.0f};
    s.pre_activation = before.data.data();
  }
  table.scale_channels(nullptr, s);
  bool ok = true;
  for (Index r = 0; r < rows; ++r)
    for (Index c = 0; c < channels; ++c)
      for (Index p = 0; p < pixels; ++p) {
        const double factor = scale[c], base = plain(r, c, p) - (all ? static_cast<double>(center[c]) : 0.0);
        const double rest = all ? shift[c] : 0.0, more = all ? other(r, c, p) * static_cast<double>(add_scale[c]) : 0.0;
        const double wanted = base * factor + rest + more;
        const double bound = 4 * kU * (std::fabs(base * factor) + std::fabs(rest) + std::fabs(more));
        ok &= std::fabs((all ? before : y)(r, c, p) - wanted) <= bound;
        if (all) ok &= y(r, c, p) == std::max(0.0f, before(r, c, p));
      }
  CHECK(ok);
  CHECK(y.gaps_untouched() && x.gaps_untouched() && add.gaps_untouched() && center.intact() && scale.intact());
  CHECK(shift.intact() && add_scale.intact() && (!all || before.gaps_untouched()));
}

void test_sums(const Kernels& table, Index rows, Index channels, Index pixels) {
  const Rowwise plain(rows, channels, pixels, 1), back(rows, channels, pixels, 2);
  Blocks x(plain, 1), dy(back, 1);
  const Channels c{rows, pixels, channels, x.data.data(), x.ld};
  Guarded<float> sums(channels), mean(channels), variance(channels), dy_sums(channels), products(channels);
  table.channel_sums(nullptr, c, sums.data());
  table.channel_moments(nullptr, c, mean.data(), variance.data());
  table.channel_products(nullptr, c, mean.data(), dy.data.data(), dy.ld, dy_sums.data(), products.data());
  const double n = static_cast<double>(rows * pixels);
  bool ok = true;
  for (Index ch = 0; ch < channels; ++ch) {
    double sum = 0, size = 0, squares = 0, dy_sum = 0, dy_size = 0, product = 0, product_size = 0;
    const auto for_values = [&](auto f) {
      for (Index r = 0; r < rows; ++r)
        for (Index p = 0; p < pixels; ++p) f(plain(r, ch, p), back(r, ch, p));
    };
    for_values([&](double v, double) { sum += v, size += std::fabs(v); });
    for_values([&](double v, double d) {
      squares += (v - sum / n) * (v - sum / n);
      dy_sum += d, dy_size += std::fabs(d);
      const double away = v - static_cast<double>(mean[ch]);
      product += d * away, product_size += std::fabs(d * away);
    });
    ok &= std::fabs(sums[ch] - sum) <= 1.01 * kU * n * size;
    // Summed in double: one rounding of the result, and what double itself loses.
    const double slack = 0x1p-53 * 4 * n;
    ok &= std::fabs(mean[ch] - sum / n) <= kU * std::fabs(sum / n) + slack * size / n;
    ok &= std::fabs(variance[ch] - squares / n) <= kU * squares / n + slack * (1 + squares / n);
    ok &= std::fabs(dy_sums[ch] - dy_sum) <= kU * std::fabs(dy_sum) + slack * dy_size;
    ok &= std::fabs(products[ch] - product) <= kU * std::fabs(product) + slack * product_size;
  }
  CHECK(ok);
  CHECK(sums.intact() && mean.intact() && variance.intact() && dy_sums.intact() && products.intact());
  CHECK(x.gaps_untouched() && dy.gaps_untouched());
}

}  // namespace

int main() {
  constexpr Index kChannels[] = {1, 2, 3, 5, 15, 16, 17, 33, 64, 65};
  // Axes: size, kernel, stride, padding.
  const Window windows[] = {
      {{1, 1, 1, 0}, {1, 1, 1, 0}}, {{1, 3, 1, 1}, {1, 3, 1, 1}}, {{4, 4, 1, 0}, {3, 3, 1, 0}},
      {{7, 2, 3, 0}, {8, 2, 3, 0}}, {{6, 3, 1, 1}, {5, 3, 1, 1}}, {{7, 4, 2, 1}, {6, 4, 2, 1}},
      {{5, 2, 1, 0}, {9, 5, 3, 2}}, {{3, 1, 9, 0}, {3, 2, 1, 1}}, {{1, 1, 1, 0}, {17, 4, 2, 0}},
  };
  for (const Window& w : windows) {
    test_conv({3, 5, w});
    for (const PoolKind kind : {PoolKind::max, PoolKind::average})
      for (const Index channels : {1, 3, 17}) test_pool({channels, 0, w}, kind);
  }
  test_conv({2, 3, {{2, 2, 1, 3}, {3, 2, 2, 3}}});  // a border wider than the kernel: outputs that read nothing
  const ConvCase large{64, 33, {{14, 5, 1, 2}, {14, 5, 1, 2}}};  // nearly what skipping zeros has room for
  for (const Kernels* table : tables()) {
    Weights weights(*table, large);
    for (const Index lanes : {Index{1}, table->lanes}) test_sparse(*table, large, weights, 2, lanes, 0.8f);
  }
  const Window small{{3, 2, 1, 1}, {2, 2, 1, 0}};
  for (const Index in : kChannels)
    for (const Index out : kChannels) test_conv({in, out, small});
  for (const Kernels* table : tables())
    for (const Index channels : kChannels)
      for (const Index pixels : {1, 2, 5}) {
        for (const Index lanes : {Index{1}, table->lanes}) {
          for (const Index rows : {Index{1}, table->lanes, table->lanes + 1, Index{33}})
            test_arrange(*table, rows, lanes, channels, pixels);
          test_scale(*table, lanes, channels, pixels, false);
          test_scale(*table, lanes, channels, pixels, true);
        }
        for (const Index rows : {1, 2, 33}) test_sums(*table, rows, channels, pixels);
      }
  return finish();
}
