// Per-channel scaling of features and images, and the scales of batch normalisation; mirrors cpp/channels.cpp. Rows lie
// one by one: lanes is 1 on this table.
#include "launch.cuh"

#include "activation.h"
#include "elements.cuh"
#include "flat.cuh"
#include "layers/batch_norm_channel.h"
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

__global__ void batch_norm_kernel(BatchNormChannels b) {
  for_flat(b.channels, [&](Index i) { batch_norm_channel(b, i); });
}

__global__ void fold_kernel(FoldChannels f) {
  for_elements(f.channels, f.each, [&](Index channel, Index i) {
    fold_weight(f, channel, i);
    if (i == 0) fold_bias(f, channel);
  });
}

// ---- what the table calls ----

void scale_channels(Stream stream, const ScaleChannels& c) {
  const DeviceStream s = device_stream(stream);
  launch(scale_kernel, elements_grid(c.rows, c.pixels * c.channels), elements_block(), 0, s, c, s.active);
}

void batch_norm(Stream stream, const BatchNormChannels& b) {
  launch(batch_norm_kernel, flat_grid(b.channels), kFlatThreads, 0, device_stream(stream), b);
}

void fold(Stream stream, const FoldChannels& f) {
  launch(fold_kernel, elements_grid(f.channels, f.each), elements_block(), 0, device_stream(stream), f);
}

}  // namespace

void add_channels(Kernels& k) {
  k.scale_channels = scale_channels;
  k.batch_norm = batch_norm;
  k.fold = fold;
}

}  // namespace epsball::cuda
