// Pooling by the table's kernels; a block of images is pooled like one image of more channels.
#include "layers/pool2d.h"

namespace epsball {

Pool2d::Pool2d(Image in, const Window& window, PoolKind kind)
    : Layer(in.features(), window.output(in.channels).features()),
      images_{in, window.output(in.channels)},
      window_(window),
      kind_(kind),
      down_(window.down.forward()),
      across_(window.across.forward()) {}

void Pool2d::pack_constants(const Kernels& k, float* packed) const {
  copy_taps(k, packed, down_);
  copy_taps(k, packed + packed_taps(down_.size()), across_);
}

Pool Pool2d::pool(const Context& context, const float* packed, const Stage& s) const {
  Pool p;
  p.kind = kind_;
  p.rows = context.blocks(s.rows);
  p.in_height = images_.in.height;
  p.in_width = images_.in.width;
  p.out_height = images_.out.height;
  p.out_width = images_.out.width;
  p.channels = images_.in.channels * context.lanes;
  p.taps = window_.taps();
  p.tiled = window_.tiles();
  p.down = taps_at(packed);
  p.across = taps_at(packed + packed_taps(down_.size()));
  p.x = s.x.data;
  p.ldx = s.x.ld * context.lanes;
  p.y = s.y.data;
  p.ldy = s.y.ld * context.lanes;
  p.dy = s.dy.data;
  p.lddy = s.dy.ld * context.lanes;
  p.dx = s.dx.data;
  p.lddx = s.dx.ld * context.lanes;
  return p;
}

void Pool2d::forward(const Context& context, const float* packed, const Stage& s) const {
  context.kernels.pool_forward(context.stream, pool(context, packed, s));
}

void Pool2d::forward_region(const Context& context, const float* packed, const Stage& s, const Region* changed,
                            Region* region) const {
  context.kernels.pool_region(context.stream, pool(context, packed, s), changed, region);
}

void Pool2d::backward(const Context& context, const float* packed, const Stage& s) const {
  Pool p = pool(context, packed, s);
  const bool fused = p.tiled && s.end.saved == s.x.data;
  if (fused) p.derivative = s.end.derivative;
  context.kernels.pool_backward(context.stream, p);
  if (!fused) finish_images(context, s, in);
}

}  // namespace epsball
