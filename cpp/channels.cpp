// Per-channel scaling of features and images, and the scales of batch normalisation.
#include "activation.h"
#include "layers/batch_norm_channel.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

void scale_channels(Stream, const ScaleChannels& c) {
  const Index width = c.channels * c.lanes;
  for (Index r = 0; r < c.rows; ++r)
    for (Index p = 0; p < c.pixels; ++p) {
      const Index in_x = r * c.ldx + p * width, in_y = r * c.ldy + p * width, in_add = r * c.ld_add + p * width;
      for_lanes(width, [&](Index i, Index n) {
        const auto of_channel = [&](const float* values) {
          return c.lanes == 1 ? load(values + i, n) : splat<Vec>(values[i / c.lanes]);
        };
        Vec v = load(c.x + in_x + i, n);
        if (c.center) v = v - of_channel(c.center);
        v = v * of_channel(c.scale);
        if (c.shift) v = v + of_channel(c.shift);
        if (c.add) v = mul_add(load(c.add + in_add + i, n), of_channel(c.add_scale), v);
        if (c.pre_activation) store(c.pre_activation + in_y + i, v, n);
        store(c.y + in_y + i, activate(c.activation, v), n);
      });
    }
}

void batch_norm(Stream, const BatchNormChannels& b) {
  for (Index i = 0; i < b.channels; ++i) batch_norm_channel(b, i);
}

void fold(Stream, const FoldChannels& f) {
  for (Index channel = 0; channel < f.channels; ++channel) {
    for (Index i = 0; i < f.each; ++i) fold_weight(f, channel, i);
    fold_bias(f, channel);
  }
}

}  // namespace

void add_channels(Kernels& k) {
  k.scale_channels = scale_channels;
  k.batch_norm = batch_norm;
  k.fold = fold;
}

}  // namespace epsball::EPSBALL_ISA
