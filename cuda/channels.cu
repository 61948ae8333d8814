// Per-channel scaling of features and images; mirrors cpp/channels.cpp. Rows lie one by one: lanes is 1 on this table.
#include "launch.cuh"

#include "activation.h"
#include "elements.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// ---- kernels ----

__global__ void scale_kernel(ScaleChannels c, const std::int32_t* active) {
  for_elements(rows_now(c.rows, active), c.pixels * c.channels, [&](Index r, Index i) {
    const Index channel = i % c.channels, in_y = r * c.ldy + i;
    float v = c.x[r * c.ldx + i];
    if (c.center) v = v - c.center[channel];
    v = v * c.scale[channel];
    if (c.shift) v = v + c.shift[channel];
    if (c.add) v = mul_add(c.add[r * c.ld_add + i], c.add_scale[channel], v);
    if (c.pre_activation) c.pre_activation[in_y] = v;
    c.y[in_y] = activate(c.activation, v);
  });
}

// ---- what the table calls ----

void scale_channels(Stream stream, const ScaleChannels& c) {
  const DeviceStream s = device_stream(stream);
  launch(scale_kernel, elements_grid(c.rows, c.pixels * c.channels), elements_block(), 0, s, c, s.active);
}

}  // namespace

void add_channels(Kernels& k) { k.scale_channels = scale_channels; }

}  // namespace epsball::cuda
