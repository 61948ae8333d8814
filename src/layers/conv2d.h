// Convolution (cross-correlation, as torch has it) of images with zero padding, one group.
#pragma once

#include "layers/window.h"

namespace epsball {

class Conv2d : public Layer {
 public:
  // parameters: weight (out, in, kernel height, kernel width) and, if `bias`, bias (out); torch's layout.
  Conv2d(Image in, Index out_channels, const Window& window, bool bias);

  bool takes_epilogue() const override { return true; }
  const Images* images() const override { return &images_; }
  std::unique_ptr<Layer> copy_with_bias() const override {
    return std::make_unique<Conv2d>(images_.in, images_.out.channels, window_, true);
  }
  Intervals intervals() const override { return Intervals::affine; }
  std::unique_ptr<Layer> companion() const override {
    return std::make_unique<Conv2d>(images_.in, images_.out.channels, window_, false);
  }
  Reach reach() const override { return is_dense() ? Reach::all : Reach::window; }
  const Window* window() const override { return &window_; }
  Index multiply_adds() const override { return images_.out.features() * depth(); }
  Index packed_floats() const override;
  void pack_constants(const Kernels&, float* packed) const override;
  Index pack_parts(const Kernels&) const override;
  void pack(const Kernels&, const Values& values, float* packed, Index part) const override;
  void forward(const Context&, const float* packed, const Stage&) const override;
  void forward_region(const Context&, const float* packed, const Stage&, const Region* changed,
                      Region* region) const override;
  void backward(const Context&, const float* packed, const Stage&) const override;
  Index gradient_parts(const Kernels&) const override;
  void gradient(const Kernels&, const GradientPart&) const override;

 private:
  Index depth() const { return window_.taps() * images_.in.channels; }  // of an output's sum
  bool is_dense() const { return images_.out.pixels() == 1; }
  bool is_product() const {
    return is_dense() && depth() == in && window_.down.padding == 0 && window_.across.padding == 0;
  }
  Conv conv(const Context&, const Stage&, Image in, Image out, Rows x, Rows y) const;
  void forward_product(const Context&, const float* packed, const Stage&) const;
  Conv forward_conv(const Context&, const float* packed, const Stage&) const;
  Index packed_bias() const;
  Index packed_backward() const;
  Index packed_place() const;
  Index packed_forward_taps() const;
  Index packed_backward_taps() const;

  Images images_;
  Window window_;
  std::vector<Taps> forward_down_, forward_across_, backward_down_, backward_across_;
  std::vector<Index> backward_place_;  // of each tap among those of the backward pass
};

}  // namespace epsball
