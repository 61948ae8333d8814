// Activations that no matrix product can take as its epilogue, and dropout; mirrors cpp/activation.cpp.
#include "launch.cuh"

#include "activation.h"
#include "elements.cuh"
#include "random.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// ---- kernels ----

__global__ void forward_kernel(ActivationSpec spec, Index rows, Index n, const float* x, Index ldx, float* y, Index ldy,
                               const std::int32_t* active) {
  for_elements(rows_now(rows, active), n, [&](Index r, Index i) { y[r * ldy + i] = activate(spec, x[r * ldx + i]); });
}

__global__ void backward_kernel(ActivationSpec spec, Index rows, Index n, const float* saved, Index lds, float* dy,
                                Index ldy, const std::int32_t* active) {
  for_elements(rows_now(rows, active), n,
               [&](Index r, Index i) { dy[r * ldy + i] *= derivative(spec, saved[r * lds + i]); });
}

__global__ void dropout_kernel(float p, Index rows, Index n, float* x, Index ldx, const Index* ids, std::uint64_t seed,
                               std::uint32_t salt, const std::int32_t* active) {
  const float scale = 1.0f / (1.0f - p);
  for_elements(rows_now(rows, active), n, [&](Index r, Index i) {
    float& at = x[r * ldx + i];
    at = uniform_at(seed, salt, ids[r], i) >= p ? at * scale : 0.0f;
  });
}

// ---- what the table calls ----

void activation_forward(Stream stream, ActivationSpec spec, Index rows, Index n, const float* x, Index ldx, float* y,
                        Index ldy) {
  const DeviceStream s = device_stream(stream);
  launch(forward_kernel, elements_grid(rows, n), elements_block(), 0, s, spec, rows, n, x, ldx, y, ldy, s.active);
}

void activation_backward(Stream stream, ActivationSpec spec, Index rows, Index n, const float* saved, Index lds,
                         float* dy, Index ldy) {
  const DeviceStream s = device_stream(stream);
  launch(backward_kernel, elements_grid(rows, n), elements_block(), 0, s, spec, rows, n, saved, lds, dy, ldy, s.active);
}

void dropout(Stream stream, float p, Index rows, Index n, float* x, Index ldx, const Index* ids, std::uint64_t seed,
             std::uint32_t salt) {
  const DeviceStream s = device_stream(stream);
  launch(dropout_kernel, elements_grid(rows, n), elements_block(), 0, s, p, rows, n, x, ldx, ids, seed, salt, s.active);
}

}  // namespace

void add_activation(Kernels& k) {
  k.activation_forward = activation_forward;
  k.activation_backward = activation_backward;
  k.dropout = dropout;
}

}  // namespace epsball::cuda
