// Batch normalisation, what is computed per channel: the coefficients of its passes, gradients, running statistics, and
// what remains of it in the layer below.
#pragma once

#include "array.h"
#include "lane.h"

namespace epsball {

// What a pass reads, an array per channel each: y = (x - center) * scale + shift, and backward
// dx = dy * scale + (x - center) * slope + offset, of which the last two are 0 where the statistics are fixed. Beside
// them the variance, kFixed where statistics are the running ones, one over the deviation, and the weight.
struct BatchNormArrays {
  float *center, *scale, *shift, *slope, *offset, *variance, *inverse, *weight;

  BatchNormArrays() = default;
  BatchNormArrays(float* data, Index channels) {
    float** const arrays[] = {&center, &scale, &shift, &slope, &offset, &variance, &inverse, &weight};
    for (float** array : arrays) {
      *array = data;
      data += padded(channels);
    }
  }
  static constexpr Index kCount = 8;
  static constexpr float kFixed = -1.0f;
};

enum class BatchNormStep : int { pack, forward, backward, keep };

struct BatchNormChannels {
  BatchNormStep step = BatchNormStep::pack;
  Index channels = 0;
  BatchNormArrays to = {};
  float eps = 0.0f;
  // The parameters: pack reads them, keep moves the last two by `momentum` towards those of the batch.
  const float* weight = nullptr;
  const float* bias = nullptr;
  float* running_mean = nullptr;
  float* running_variance = nullptr;
  float momentum = 0.0f;
  float unbiased = 1.0f;  // times the variance
  // forward: the packed arrays that weight and bias are taken from; center and variance are the batch's already.
  BatchNormArrays packed = {};
  // backward: the sums of dy and of dy * (x - center), which become the gradients of bias and weight.
  float* dbias = nullptr;
  float* dweight = nullptr;
  float share = 0.0f;  // one over the values of a channel
};

// A batch normalisation goes into the layer below, which has the weights (channels, each): `to` are those of a copy.
struct FoldChannels {
  Index channels = 0, each = 0;
  const float* weight = nullptr;
  const float* bias = nullptr;  // null: zeros
  float* to_weight = nullptr;
  float* to_bias = nullptr;
  float eps = 0.0f;
  const float* scale = nullptr;  // the batch normalisation's parameters
  const float* shift = nullptr;
  const float* mean = nullptr;
  const float* variance = nullptr;
};

namespace EPSBALL_ISA {

EPSBALL_HD void batch_norm_channel(const BatchNormChannels& b, Index i) {
  const BatchNormArrays& to = b.to;
  switch (b.step) {
    case BatchNormStep::pack: {
      const float deviation = sqrt(b.running_variance[i] + b.eps);
      to.center[i] = b.running_mean[i];
      to.weight[i] = b.weight[i];
      to.scale[i] = b.weight[i] / deviation;
      to.shift[i] = b.bias[i];
      to.slope[i] = to.offset[i] = 0.0f;
      to.variance[i] = BatchNormArrays::kFixed;
      to.inverse[i] = 1.0f / deviation;
      return;
    }
    case BatchNormStep::forward: {
      const float deviation = sqrt(to.variance[i] + b.eps);
      to.weight[i] = b.packed.weight[i];
      to.scale[i] = to.weight[i] / deviation;
      to.shift[i] = b.packed.shift[i];
      to.inverse[i] = 1.0f / deviation;
      return;
    }
    case BatchNormStep::backward: {
      const float inverse = to.inverse[i];
      if (to.variance[i] != BatchNormArrays::kFixed) {
        to.slope[i] = -to.scale[i] * inverse * inverse * b.dweight[i] * b.share;
        to.offset[i] = -to.scale[i] * b.dbias[i] * b.share;
      }
      b.dweight[i] *= inverse;
      return;
    }
    case BatchNormStep::keep: {  // exponential means, the variance without bias, as torch has it
      float &mean = b.running_mean[i], &variance = b.running_variance[i];
      mean += b.momentum * (to.center[i] - mean);
      variance += b.momentum * (to.variance[i] * b.unbiased - variance);
      return;
    }
  }
}

// In float64 until it is stored.
EPSBALL_HD double fold_scale(const FoldChannels& f, Index channel) {
  const double variance = static_cast<double>(f.variance[channel]) + static_cast<double>(f.eps);
  return static_cast<double>(f.scale[channel]) / __builtin_sqrt(variance);
}
EPSBALL_HD void fold_weight(const FoldChannels& f, Index channel, Index i) {
  const Index at = channel * f.each + i;
  f.to_weight[at] = static_cast<float>(static_cast<double>(f.weight[at]) * fold_scale(f, channel));
}
EPSBALL_HD void fold_bias(const FoldChannels& f, Index channel) {
  const double scale = fold_scale(f, channel), bias = f.bias ? static_cast<double>(f.bias[channel]) : 0.0;
  const double shift = static_cast<double>(f.shift[channel]) - static_cast<double>(f.mean[channel]) * scale;
  f.to_bias[channel] = static_cast<float>(bias * scale + shift);
}

}  // namespace EPSBALL_ISA
}  // namespace epsball
