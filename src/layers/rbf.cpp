// Radial basis functions by the table's kernels, with centres and scales packed for either direction.
#include "layers/rbf.h"

#include <algorithm>

namespace epsball {
namespace {

constexpr Index kUnitsPerPart = 4;  // of the parameters' gradient

}  // namespace

Rbf::Rbf(Index in, Index out, bool diagonal) : Layer(in, out) {
  const auto all = static_cast<std::size_t>(in * out);
  parameters.push_back({"centre", {out, in}, std::vector<float>(all)});
  if (diagonal)
    parameters.push_back({"scale", {out, in}, std::vector<float>(all)});
  else
    parameters.push_back({"scale", {out}, std::vector<float>(static_cast<std::size_t>(out))});
}

bool Rbf::diagonal() const { return parameters[1].shape.size() == 2; }

// A matrix for the backward pass (out, in), then for the forward pass (in, out). The centres come first, then the
// scales: another matrix, or a vector.
Index Rbf::packed_matrix() const { return out * padded(in) + in * padded(out); }
Index Rbf::packed_floats() const { return packed_matrix() + (diagonal() ? packed_matrix() : padded(out)); }

Index Rbf::pack_parts(const Kernels& k) const { return panels(k, in) + panels(k, out); }

void Rbf::pack(const Kernels& k, const Values& values, float* packed, Index part) const {
  const Index backward_panels = panels(k, in);
  for (std::size_t p = 0; p < (diagonal() ? 2u : 1u); ++p) {
    const float* matrix = values[p];
    float* to = packed + static_cast<Index>(p) * packed_matrix();
    if (part < backward_panels) {
      const Index first = part * k.panel;
      k.pack(nullptr, {in, 1, out, matrix, nullptr, in, 1, first, std::min(in, first + k.panel), to});
    } else {
      const Index first = (part - backward_panels) * k.panel;
      float* const transposed = to + out * padded(in);
      k.pack(nullptr, {out, in, 1, matrix, nullptr, 0, in, first, std::min(out, first + k.panel), transposed});
    }
  }
  if (part == 0 && !diagonal())
    k.copy(nullptr, packed + packed_matrix(), values[1], out * static_cast<Index>(sizeof(float)));
}

RbfRows Rbf::rows(const Stage& s) const {
  RbfRows a;
  a.rows = s.rows;
  a.features = in;
  a.units = out;
  a.diagonal = diagonal();
  a.x = s.x.data;
  a.ldx = s.x.ld;
  return a;
}

void Rbf::forward(const Context& context, const float* packed, const Stage& s) const {
  const Kernels& k = context.kernels;
  RbfRows a = rows(s);
  a.centre = packed + out * padded(in);
  a.scale = packed + packed_matrix() + (diagonal() ? out * padded(in) : 0);
  a.y = s.y.data;
  a.ldy = s.y.ld;
  context.split(out, s.rows * multiply_adds(), [&](Index first, Index last) {
    RbfRows mine = a;
    mine.first = first;
    mine.last = last;
    k.rbf_forward(context.stream, mine);
  });
  if (s.end.pre_activation)
    k.copy_rows(context.stream, s.rows, out, a.y, a.ldy, s.end.pre_activation, a.ldy, nullptr, nullptr);
  if (s.end.activation.kind != Activation::identity)
    k.activation_forward(context.stream, s.end.activation, s.rows, out, a.y, a.ldy, a.y, a.ldy);
}

void Rbf::backward(const Context& context, const float* packed, const Stage& s) const {
  RbfRows a = rows(s);
  a.centre = packed;
  a.scale = packed + packed_matrix();
  a.dy = s.dy.data;
  a.lddy = s.dy.ld;
  a.dx = s.dx.data;
  a.lddx = s.dx.ld;
  context.split(in, s.rows * multiply_adds(), [&](Index first, Index last) {
    RbfRows mine = a;
    mine.first = first;
    mine.last = last;
    context.kernels.rbf_backward(context.stream, mine);
  });
  finish_backward(context, s.rows, in, s.dx, s.end);
}

Index Rbf::gradient_parts(const Kernels&) const { return (out + kUnitsPerPart - 1) / kUnitsPerPart; }

void Rbf::gradient(const Kernels& k, const GradientPart& p) const {
  RbfGradient a;
  a.rows = p.rows;
  a.features = in;
  a.units = out;
  a.diagonal = diagonal();
  a.x = p.x.data;
  a.ldx = p.x.ld;
  a.dy = p.dy.data;
  a.lddy = p.dy.ld;
  a.centre = p.packed;
  a.scale = p.packed + packed_matrix();
  a.first = p.part * kUnitsPerPart;
  a.last = std::min(out, a.first + kUnitsPerPart);
  a.dcentre = p.gradient[0];
  a.dscale = p.gradient[1];
  k.rbf_gradient(nullptr, a);
}

}  // namespace epsball
