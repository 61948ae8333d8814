// Linear layers as products with packed weights: W^T for the forward pass, W for the backward pass. A layer of few
// outputs goes forward with W as well.
#include "layers/linear.h"

#include <algorithm>

#include "layers/conv2d.h"

namespace epsball {
Linear::Linear(Index in, Index out, bool bias) : Layer(in, out) {
  parameters.push_back({"weight", {out, in}, std::vector<float>(static_cast<std::size_t>(in * out))});
  if (bias) parameters.push_back({"bias", {out}, std::vector<float>(static_cast<std::size_t>(out))});
}

// A convolution whose kernel is the image: even the weights lie as they do here. Weights that no L2 cache holds are
// better streamed by a product of rows, for all that rearranging them costs.
std::unique_ptr<Layer> Linear::copy_on_images(Image image) const {
  constexpr Index kMostWeights = 1 << 18;
  if (in * out > kMostWeights) return nullptr;
  const Window whole{{image.height, image.height, 1, 0}, {image.width, image.width, 1, 0}};
  return std::make_unique<Conv2d>(image, out, whole, true);
}

bool Linear::narrow() const { return out <= kNarrow; }

// W (out, in), then the bias, then W^T (in, out) where forward needs it: a pass reads nothing that load_parameters may
// write.
Index Linear::packed_bias() const { return out * padded(in); }
Index Linear::packed_transposed() const { return packed_bias() + padded(out); }
Index Linear::packed_floats() const { return packed_transposed() + (narrow() ? 0 : in * padded(out)); }

Index Linear::pack_parts(const Kernels& k) const { return panels(k, in) + (narrow() ? 0 : panels(k, out)); }

void Linear::pack(const Kernels& k, const Values& values, float* packed, Index part) const {
  const float* weight = values[0];
  const Index backward_panels = panels(k, in);
  if (part < backward_panels) {
    const Index first = part * k.panel;
    k.pack(nullptr, {in, 1, out, weight, nullptr, in, 1, first, std::min(in, first + k.panel), packed});
    if (part == 0 && values.size() > 1)
      k.copy(nullptr, packed + packed_bias(), values[1], out * static_cast<Index>(sizeof(float)));
  } else {
    const Index first = (part - backward_panels) * k.panel;
    float* const transposed = packed + packed_transposed();
    k.pack(nullptr, {out, in, 1, weight, nullptr, 0, in, first, std::min(out, first + k.panel), transposed});
  }
}

bool Linear::dense(const float* packed, DenseLayer& l) const {
  l.in = in;
  l.out = out;
  l.forward = narrow() ? nullptr : packed + packed_transposed();
  l.backward = packed;
  l.bias = parameters.size() > 1 ? packed + packed_bias() : nullptr;
  return true;
}

void Linear::forward(const Context& context, const float* packed, const Stage& s) const {
  const float* b = narrow() ? packed : packed + packed_transposed();
  Gemm g{s.rows, out, in, s.x.data, s.x.ld, 1, b, 0, out, s.y.data, s.y.ld, s.end};
  if (parameters.size() > 1) g.epilogue.bias = packed + packed_bias();
  narrow() ? context.kernels.dots(context.stream, g) : context.gemm(g);
}

void Linear::backward(const Context& context, const float* packed, const Stage& s) const {
  context.gemm({s.rows, in, out, s.dy.data, s.dy.ld, 1, packed, 0, in, s.dx.data, s.dx.ld, s.end});
}

// dW = dy^T x, a panel of input columns at a time: one chain over the batch per weight, whatever the thread count.
Index Linear::gradient_parts(const Kernels& k) const { return panels(k, in) + 1; }

Index Linear::gradient_scratch(const Kernels& k, Index rows) const { return rows * k.panel; }

void Linear::gradient(const Kernels& k, const GradientPart& g) const {
  if (g.part == panels(k, in)) {
    if (parameters.size() > 1) k.column_sums(nullptr, g.rows, out, g.dy.data, g.dy.ld, g.gradient[1]);
    return;
  }
  const Index first = g.part * k.panel, columns = std::min(k.panel, in - first);
  k.pack(nullptr, {columns, 1, g.rows, g.x.data + first, nullptr, g.x.ld, 1, 0, columns, g.scratch});
  k.gemm(nullptr, {out, columns, g.rows, g.dy.data, 1, g.dy.ld, g.scratch, 0, columns, g.gradient[0] + first, in, {}});
}

}  // namespace epsball
