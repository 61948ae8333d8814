// Passes by regions: the bits of whole passes, whatever changes and whatever is kept, on every CPU table.
#include <algorithm>

#include "check.h"
#include "dispatch.h"
#include "guarded.h"
#include "layers/activation.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/flatten.h"
#include "layers/linear.h"
#include "layers/normalize.h"
#include "layers/pool2d.h"
#include "layers/sum.h"
#include "model.h"

using namespace epsball;
using namespace epsball::test;

namespace {

template <class L>
std::unique_ptr<L> filled(std::unique_ptr<L> layer) {
  unsigned seed = 3;
  for (Parameter& p : layer->parameters)
    p.value = uniform_floats(static_cast<Index>(p.value.size()), seed++, p.non_negative ? 0.5f : -0.6f, 0.8f);
  return layer;
}

std::unique_ptr<Layer> conv(Image in, Index out, Index kernel, Index stride, Index padding) {
  const Window window{{in.height, kernel, stride, padding}, {in.width, kernel, stride, padding}};
  return filled(std::make_unique<Conv2d>(in, out, window, true));
}

std::unique_ptr<Layer> pool(Image in, PoolKind kind, Index kernel, Index stride, Index padding) {
  const Window window{{in.height, kernel, stride, padding}, {in.width, kernel, stride, padding}};
  return std::make_unique<Pool2d>(in, window, kind);
}

std::unique_ptr<Layer> activation(Index features, Activation kind) {
  return std::make_unique<ActivationLayer>(features, ActivationSpec{kind, 0.5f});
}

void end_in_linear(Layers& layers, std::vector<Index> widths) {
  widths.insert(widths.begin(), layers.back()->out);
  layers.push_back(std::make_unique<Flatten>(widths[0]));
  for (std::size_t i = 1; i < widths.size(); ++i) {
    layers.push_back(filled(std::make_unique<Linear>(widths[i - 1], widths[i], true)));
    if (i + 1 < widths.size()) layers.push_back(activation(widths[i], Activation::relu));
  }
}

// Strides and padding, as small digit nets have them.
Layers strided() {
  Layers layers;
  layers.push_back(conv({1, 13, 11}, 5, 4, 2, 1));
  layers.push_back(activation(layers.back()->out, Activation::relu));
  layers.push_back(conv(layers[0]->images()->out, 19, 4, 2, 1));
  layers.push_back(activation(layers.back()->out, Activation::relu));
  end_in_linear(layers, {21, 4});
  return layers;
}

// Several channels, fixed numbers to normalise by, pools that overlap, an activation of its input, one channel at last.
Layers pooled() {
  const Image in{3, 10, 12};
  Layers layers;
  layers.push_back(std::make_unique<Normalize>(std::vector<float>{0.1f, 0.2f, 0.3f},
                                               std::vector<float>{0.5f, 0.6f, 0.7f}, in.pixels()));
  layers.push_back(conv(in, 70, 3, 1, 1));
  layers.push_back(activation(layers.back()->out, Activation::gelu));
  layers.push_back(pool(layers[1]->images()->out, PoolKind::max, 3, 2, 1));
  layers.push_back(conv(layers.back()->images()->out, 1, 2, 1, 0));
  layers.push_back(activation(layers.back()->out, Activation::tanh));
  layers.push_back(pool(layers[4]->images()->out, PoolKind::average, 2, 2, 0));
  end_in_linear(layers, {3});
  return layers;
}

// A residual block, with a scale that nothing below can take.
Layers residual() {
  Layers layers;
  layers.push_back(conv({2, 9, 9}, 6, 3, 1, 1));
  const Image image = layers.back()->images()->out;
  layers.push_back(activation(layers.back()->out, Activation::relu));
  layers.push_back(filled(std::make_unique<BatchNorm>(image, 1e-5f, 0.1f)));
  layers.push_back(conv(image, 6, 3, 1, 1));
  layers.push_back(conv(image, 6, 1, 1, 0));
  layers.back()->reads = {1};
  layers.push_back(std::make_unique<Sum>(image.features()));
  layers.back()->reads = {3, 4};
  end_in_linear(layers, {3});
  return layers;
}

// One that reads the image as a whole first: nothing to gain.
Layers without_images() {
  Layers layers;
  layers.push_back(filled(std::make_unique<Linear>(30, 5, true)));
  return layers;
}

struct Rng {
  std::uint32_t state = 1;
  Index below(Index most) {
    state = state * 1664525u + 1013904223u;
    return static_cast<Index>((static_cast<std::uint64_t>(state >> 8) * static_cast<std::uint64_t>(most)) >> 24);
  }
};

// Moves `windows` windows of a row in all channels; -1: every feature.
void change(Rng& rng, const Image& image, int windows, float* row) {
  const auto value = [&] { return static_cast<float>(rng.below(1000)) / 999.0f; };
  if (windows < 0) std::generate_n(row, image.features(), value);
  for (int w = 0; w < windows; ++w) {
    const Index tall = 1 + rng.below(4), wide = 1 + rng.below(4);
    const Index top = rng.below(image.height - tall + 1), left = rng.below(image.width - wide + 1);
    for (Index c = 0; c < image.channels; ++c)
      for (Index i = 0; i < tall; ++i)
        for (Index j = 0; j < wide; ++j) row[(c * image.height + top + i) * image.width + left + j] = value();
  }
}

void test_bits(const Kernels& table, Layers layers, const Image& image, Index rows) {
  Model model(std::move(layers));
  const auto plan = model.plan(table);
  Arena arena(table);
  const Context context{table};
  const auto whole = plan->open(context, arena, rows);
  const auto regions = plan->open_regions(context, arena, rows);
  if (!CHECK(regions)) return;
  const Rows x = arena.take_rows(rows, image.features()), kept = arena.take_rows(rows, image.features());
  std::vector<std::uint8_t> keep(static_cast<std::size_t>(rows)), leave(static_cast<std::size_t>(rows));
  Rng rng;
  for (Index row = 0; row < rows; ++row) change(rng, image, -1, kept.data + row * kept.ld);
  regions->begin(rows, kept);
  bool same = true;
  for (int step = 0; step < 40; ++step) {
    table.copy_rows(nullptr, rows, image.features(), kept.data, kept.ld, x.data, x.ld, nullptr, nullptr);
    for (Index row = 0; row < rows; ++row)
      change(rng, image, static_cast<int>(rng.below(10)) == 0 ? -1 : static_cast<int>(rng.below(3)),
             x.data + row * x.ld);
    const Rows logits = regions->forward(rows, x, kept), wanted = whole->forward(rows, x);
    for (Index row = 0; row < rows; ++row)
      same &= same_bits(logits.data + row * logits.ld, wanted.data + row * wanted.ld, plan->classes());
    for (std::uint8_t& k : keep) k = rng.below(2) == 0;
    regions->settle(rows, keep.data());
    table.copy_rows(nullptr, rows, image.features(), x.data, x.ld, kept.data, kept.ld, nullptr, keep.data());
    if (step % 10 != 9 || rows < 2) continue;
    std::fill(leave.begin(), leave.end(), std::uint8_t{0});
    leave[static_cast<std::size_t>(rng.below(rows))] = 1;
    std::vector<RowBuffer> moved = regions->buffers();
    moved.push_back({kept.data, kept.ld * static_cast<Index>(sizeof(float))});
    rows = table.compact(nullptr, rows, leave.data(), moved.data(), static_cast<int>(moved.size()));
  }
  CHECK(same);
  arena.check();
}

// Where windows are small next to the image, little is left to compute; where they are the image, everything is.
void test_share(const Kernels& table) {
  Model model(strided());
  Arena arena(table);
  const auto regions = model.plan(table)->open_regions({table}, arena, 2);
  const double one = regions->share(1, 1, 1), two = regions->share(2, 1, 1), all = regions->share(1, 13, 11);
  // Convolutions take 2,400 and 9,120 multiply-adds: of these 2 x 2 outputs of 6 x 5, then on average 2.5 x 2 of 3 x 2.
  // The linear layers take all of 2,394 and 84, as does rearranging 143 values and 4.
  CHECK_NEAR(one, (320.0 + 7600.0 + 2394.0 + 84.0 + 147.0) / (2400.0 + 9120.0 + 2394.0 + 84.0 + 147.0), 1e-12);
  CHECK(one < two && two < all);
  CHECK_NEAR(all, 1.0, 0.02);
  Model linear(without_images());
  CHECK(linear.plan(table)->open_regions({table}, arena, 2) == nullptr);
  CHECK(linear.plan(table)->region_floats_per_row() == 0);
}

}  // namespace

int main() {
  set_guards(true);
  for (const Kernels* table : tables())
    if (!table->device) {
      for (const Index rows : {1, 3, 17, 40}) {
        test_bits(*table, strided(), {1, 13, 11}, rows);
        test_bits(*table, pooled(), {3, 10, 12}, rows);
        test_bits(*table, residual(), {2, 9, 9}, rows);
      }
      test_share(*table);
    }
  return finish();
}
