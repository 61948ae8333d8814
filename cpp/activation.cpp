// Activations that no matrix product can take as its epilogue, and dropout.
#include "activation.h"

#include "random.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

void activation_forward(Stream, ActivationSpec spec, Index rows, Index n, const float* x, Index ldx, float* y,
                        Index ldy) {
  for (Index r = 0; r < rows; ++r)
    for_lanes(n, [&](Index i, Index m) { store(y + r * ldy + i, activate(spec, load(x + r * ldx + i, m)), m); });
}

void activation_backward(Stream, ActivationSpec spec, Index rows, Index n, const float* saved, Index lds, float* dy,
                         Index ldy) {
  for (Index r = 0; r < rows; ++r)
    for_lanes(n, [&](Index i, Index m) {
      Vec d = load(dy + r * ldy + i, m) * derivative(spec, load(saved + r * lds + i, m));
      store(dy + r * ldy + i, d, m);
    });
}

void dropout(Stream, float p, Index rows, Index n, float* x, Index ldx, const Index* ids, std::uint64_t seed,
             std::uint32_t salt) {
  const float scale = 1.0f / (1.0f - p);
  for (Index r = 0; r < rows; ++r)
    for_uniforms(n, seed, salt, ids[r], [&](Index i, Index m, Vec u) {
      float* at = x + r * ldx + i;
      store(at, select(u >= p, load(at, m) * scale, Vec{}), m);
    });
}

}  // namespace

void add_activation(Kernels& k) {
  k.activation_forward = activation_forward;
  k.activation_backward = activation_backward;
  k.dropout = dropout;
}

}  // namespace epsball::EPSBALL_ISA
