// Max and average pooling.
#pragma once

#include "layers/window.h"

namespace epsball {

class Pool2d : public Layer {
 public:
  Pool2d(Image in, const Window& window, PoolKind kind);

  const Images* images() const override { return &images_; }
  bool sparse_gradient() const override { return kind_ == PoolKind::max && window_.tiles() && window_.taps() > 2; }
  Reach reach() const override { return Reach::window; }
  const Window* window() const override { return &window_; }
  Intervals intervals() const override { return kind_ == PoolKind::max ? Intervals::monotone : Intervals::affine; }
  Index packed_floats() const override { return packed_taps(down_.size()) + packed_taps(across_.size()); }
  void pack_constants(const Kernels&, float* packed) const override;
  void forward(const Context&, const float*, const Stage&) const override;
  void forward_region(const Context&, const float*, const Stage&, const Region* changed, Region* region) const override;
  void backward(const Context&, const float*, const Stage&) const override;

 private:
  Pool pool(const Context&, const float* packed, const Stage&) const;

  Images images_;
  Window window_;
  PoolKind kind_;
  std::vector<Taps> down_, across_;
};

}  // namespace epsball
