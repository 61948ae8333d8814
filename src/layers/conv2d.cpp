// Convolutions as the table's conv with weights packed for each direction.
#include "layers/conv2d.h"

#include <algorithm>

namespace epsball {
namespace {

constexpr Index kGradientRows = 32;  // rows of the weights' matrix that one part of the gradient works on

}  // namespace

Conv2d::Conv2d(Image in, Index out_channels, const Window& window, bool bias)
    : Layer(in.features(), window.output(out_channels).features()),
      images_{in, window.output(out_channels)},
      window_(window),
      forward_down_(window.down.forward()),
      forward_across_(window.across.forward()),
      backward_down_(window.down.backward()),
      backward_across_(window.across.backward()),
      backward_place_(static_cast<std::size_t>(window.taps())) {
  Index place = 0;
  for (const Index y : window.down.backward_taps())
    for (const Index x : window.across.backward_taps())
      backward_place_[static_cast<std::size_t>(y * window.across.kernel + x)] = place++;
  const Index weights = out_channels * depth();
  parameters.push_back({"weight",
                        {out_channels, in.channels, window.down.kernel, window.across.kernel},
                        std::vector<float>(static_cast<std::size_t>(weights))});
  if (bias) parameters.push_back({"bias", {out_channels}, std::vector<float>(static_cast<std::size_t>(out_channels))});
}

// The weights for the forward pass, the bias, the weights for the backward pass; then the constants: places of taps,
// and which taps the outputs of either direction read, down and across.
Index Conv2d::packed_bias() const { return depth() * padded(images_.out.channels); }
Index Conv2d::packed_backward() const { return packed_bias() + padded(images_.out.channels); }
Index Conv2d::packed_place() const {
  return packed_backward() + window_.taps() * images_.out.channels * padded(images_.in.channels);
}
Index Conv2d::packed_forward_taps() const {
  constexpr Index kFloats = sizeof(Index) / sizeof(float);
  return packed_place() + padded(window_.taps() * kFloats);
}
Index Conv2d::packed_backward_taps() const {
  return packed_forward_taps() + packed_taps(forward_down_.size()) + packed_taps(forward_across_.size());
}
Index Conv2d::packed_floats() const {
  return packed_backward_taps() + packed_taps(backward_down_.size()) + packed_taps(backward_across_.size());
}

void Conv2d::pack_constants(const Kernels& k, float* packed) const {
  k.copy(nullptr, packed + packed_place(), backward_place_.data(), window_.taps() * static_cast<Index>(sizeof(Index)));
  copy_taps(k, packed + packed_forward_taps(), forward_down_);
  copy_taps(k, packed + packed_forward_taps() + packed_taps(forward_down_.size()), forward_across_);
  copy_taps(k, packed + packed_backward_taps(), backward_down_);
  copy_taps(k, packed + packed_backward_taps() + packed_taps(backward_down_.size()), backward_across_);
}

Index Conv2d::pack_parts(const Kernels& k) const {
  return panels(k, images_.out.channels) + panels(k, images_.in.channels);
}

void Conv2d::pack(const Kernels& k, const Values& values, float* packed, Index part) const {
  const Index in = images_.in.channels, out = images_.out.channels, taps = window_.taps();
  const Index forward_panels = panels(k, out);
  const float* weight = values[0];
  if (part < forward_panels) {
    Pack p{out, taps, in, weight, nullptr, taps, depth(), part * k.panel, std::min(out, (part + 1) * k.panel), packed};
    if (taps == 1) std::swap(p.taps, p.members);  // then the channels are neighbours
    k.pack(nullptr, p);
    if (part > 0) return;
    float* const bias = packed + packed_bias();  // a copy may have one where its original has none
    const Index bytes = out * static_cast<Index>(sizeof(float));
    values.size() > 1 ? k.copy(nullptr, bias, values[1], bytes) : k.fill(nullptr, bias, 0, bytes);
  } else {
    const Index first = (part - forward_panels) * k.panel, last = std::min(in, first + k.panel);
    float* const backward = packed + packed_backward();
    const auto* place = reinterpret_cast<const Index*>(packed + packed_place());
    k.pack(nullptr, {in, taps, out, weight, place, depth(), taps, first, last, backward});
  }
}

// What both directions have in common: from images of shape `in` to those of shape `out`.
Conv Conv2d::conv(const Context& context, const Stage& s, Image in, Image out, Rows x, Rows y) const {
  Conv c;
  c.rows = s.rows;
  c.lanes = context.lanes;
  c.in_height = in.height;
  c.in_width = in.width;
  c.in_channels = in.channels;
  c.out_height = out.height;
  c.out_width = out.width;
  c.out_channels = out.channels;
  c.tap_columns = window_.across.kernel;
  c.taps = window_.taps();
  c.dense = is_dense();
  c.x = x.data;
  c.ldx = x.ld;
  c.y = y.data;
  c.ldy = y.ld;
  c.epilogue = s.end;
  return c;
}

Conv Conv2d::forward_conv(const Context& context, const float* packed, const Stage& s) const {
  Conv c = conv(context, s, images_.in, images_.out, s.x, s.y);
  c.down = taps_at(packed + packed_forward_taps());
  c.across = taps_at(packed + packed_forward_taps() + packed_taps(forward_down_.size()));
  c.b = packed;
  if (parameters.size() > 1) c.epilogue.bias = packed + packed_bias();
  return c;
}

// Where the kernel is the image, rows one by one are rows of a product: the same chains, and weights read once for all.
void Conv2d::forward_product(const Context& context, const float* packed, const Stage& s) const {
  const Index out = images_.out.channels;
  Gemm g{s.rows, out, in, s.x.data, s.x.ld, 1, packed, 0, out, s.y.data, s.y.ld, s.end};
  if (parameters.size() > 1) g.epilogue.bias = packed + packed_bias();
  context.gemm(g);
}

void Conv2d::forward(const Context& context, const float* packed, const Stage& s) const {
  if (is_product() && context.lanes == 1) return forward_product(context, packed, s);
  context.kernels.conv(context.stream, forward_conv(context, packed, s));
}

void Conv2d::forward_region(const Context& context, const float* packed, const Stage& s, const Region* changed,
                            Region* region) const {
  context.kernels.conv_region(context.stream, forward_conv(context, packed, s), changed, region);
}

void Conv2d::backward(const Context& context, const float* packed, const Stage& s) const {
  Conv c = conv(context, s, images_.out, images_.in, s.dy, s.dx);
  c.row_step = window_.down.stride;
  c.column_step = window_.across.stride;
  c.sparse = s.sparse;
  c.down = taps_at(packed + packed_backward_taps());
  c.across = taps_at(packed + packed_backward_taps() + packed_taps(backward_down_.size()));
  c.b = packed + packed_backward();
  context.kernels.conv(context.stream, c);
}

// A few rows of the weights' matrix at a time, the last part being the bias: one chain over the batch per weight,
// whatever the thread count.
Index Conv2d::gradient_parts(const Kernels&) const { return (depth() + kGradientRows - 1) / kGradientRows + 1; }

void Conv2d::gradient(const Kernels& k, const GradientPart& p) const {
  const Index in = images_.in.channels, out = images_.out.channels;
  ConvGradient g;
  g.rows = p.rows;
  g.in_height = images_.in.height;
  g.in_width = images_.in.width;
  g.in_channels = in;
  g.out_height = images_.out.height;
  g.out_width = images_.out.width;
  g.out_channels = out;
  g.kernel_width = window_.across.kernel;
  g.taps = window_.taps();
  g.stride_down = window_.down.stride;
  g.stride_across = window_.across.stride;
  g.padding_down = window_.down.padding;
  g.padding_across = window_.across.padding;
  g.x = p.x.data;
  g.ldx = p.x.ld;
  g.dy = p.dy.data;
  g.ldy = p.dy.ld;
  g.first = p.part * kGradientRows;
  g.last = std::min(depth(), g.first + kGradientRows);
  if (g.first >= depth()) {
    if (parameters.size() > 1)
      k.channel_sums(nullptr, {p.rows, images_.out.pixels(), out, p.dy.data, p.dy.ld}, p.gradient[1]);
    return;
  }
  g.gradient = p.gradient[0];
  k.conv_gradient(nullptr, g);
}

}  // namespace epsball
