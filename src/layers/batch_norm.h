// Batch normalisation of features, or of the channels of images: by the batch's own statistics while training, by
// their running means outside, where a plan folds it into the layer below if that can take it.
#pragma once

#include "layers/batch_norm_channel.h"
#include "layers/layer.h"

namespace epsball {

class BatchNorm : public Layer {
 public:
  // parameters: weight, bias, running_mean, running_var, (channels) each; the last two are not trained.
  BatchNorm(Image image, float eps, float momentum);

  bool takes_epilogue() const override { return true; }
  const Images* images() const override { return image_.pixels() > 1 ? &images_ : nullptr; }
  Reach reach() const override { return Reach::pixel; }
  Intervals intervals() const override { return Intervals::affine; }
  std::unique_ptr<Layer> companion() const override { return std::make_unique<BatchNorm>(image_, eps_, momentum_); }
  Index packed_floats() const override;
  Index pack_parts(const Kernels&) const override { return 1; }
  void pack(const Kernels&, const Values& values, float* packed, Index part) const override;
  void forward(const Context&, const float* packed, const Stage&) const override;
  void backward(const Context&, const float* packed, const Stage&) const override;

  Index statistics_floats() const override;
  void running_statistics(const Kernels&, const float* packed, float* statistics) const override;
  void gather_forward(const Kernels&, const float* packed, Index rows, Rows x, float* statistics) const override;
  void gather_backward(const Kernels&, Index rows, Rows x, Rows dy, float* statistics,
                       float* const* gradient) const override;
  void keep_statistics(const Kernels&, const Values& own, Index rows, float* statistics) const override;

  Index folds() const override { return image_.channels; }
  void fold(const Kernels&, const Values& own, FoldChannels& below) const override;

 private:
  BatchNormChannels channels(BatchNormStep step, float* to) const;
  ScaleChannels scale_channels(const Context&, const Stage&, Rows y) const;

  Image image_;
  Images images_;
  float eps_, momentum_;
};

}  // namespace epsball
