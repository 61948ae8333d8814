// y = (x - mean) / sqrt(var + eps) * weight + bias, and its gradient through the mean and the variance.
#include "layers/batch_norm.h"

#include <cmath>

namespace epsball {
namespace {

enum : std::size_t { kWeight, kBias, kMean, kVariance };

// What a pass reads, an array per channel each: y = (x - center) * scale + shift, and backward
// dx = dy * scale + (x - center) * slope + offset, of which the last two are 0 where the statistics are fixed.
struct Coefficients {
  float *center, *scale, *shift, *slope, *offset, *variance;

  Coefficients(float* data, Index channels) {
    float** const arrays[] = {&center, &scale, &shift, &slope, &offset, &variance};
    for (float** array : arrays) {
      *array = data;
      data += padded(channels);
    }
  }
};
constexpr Index kArrays = 6;
constexpr float kFixed = -1.0f;  // stands for the variance where statistics are the running ones

}  // namespace

BatchNorm::BatchNorm(Image image, float eps, float momentum)
    : Layer(image.features(), image.features()), image_(image), images_{image, image}, eps_(eps), momentum_(momentum) {
  const auto n = static_cast<std::size_t>(image.channels);
  for (const char* name : {"weight", "bias", "running_mean", "running_var"})
    parameters.push_back({name, {image.channels}, std::vector<float>(n)});
  parameters[kMean].trained = parameters[kVariance].trained = false;
  parameters[kVariance].non_negative = true;
}

Index BatchNorm::packed_floats() const { return kArrays * padded(image_.channels); }
Index BatchNorm::statistics_floats() const { return kArrays * padded(image_.channels); }

void BatchNorm::pack(const Kernels&, const Parameters&, float* packed, Index) const { running_statistics(packed); }

void BatchNorm::running_statistics(float* statistics) const {
  const Coefficients c(statistics, image_.channels);
  for (std::size_t i = 0; i < static_cast<std::size_t>(image_.channels); ++i) {
    c.center[i] = parameters[kMean].value[i];
    c.scale[i] = parameters[kWeight].value[i] / std::sqrt(parameters[kVariance].value[i] + eps_);
    c.shift[i] = parameters[kBias].value[i];
    c.slope[i] = c.offset[i] = 0.0f;
    c.variance[i] = kFixed;
  }
}

ChannelScale BatchNorm::folded() const {
  ChannelScale s;
  for (std::size_t i = 0; i < static_cast<std::size_t>(image_.channels); ++i) {
    const double variance = static_cast<double>(parameters[kVariance].value[i]) + static_cast<double>(eps_);
    s.scale.push_back(static_cast<double>(parameters[kWeight].value[i]) / std::sqrt(variance));
    s.shift.push_back(static_cast<double>(parameters[kBias].value[i]) -
                      static_cast<double>(parameters[kMean].value[i]) * s.scale.back());
  }
  return s;
}

// ---- passes ----

void BatchNorm::forward(const Context& context, const float* packed, const Stage& s) const {
  const Coefficients c(s.statistics ? s.statistics : const_cast<float*>(packed), image_.channels);
  ScaleChannels k;
  k.lanes = images() ? context.lanes : 1;
  k.rows = images() ? context.blocks(s.rows) : s.rows;
  k.pixels = image_.pixels();
  k.channels = image_.channels;
  k.x = s.x.data;
  k.ldx = s.x.ld * k.lanes;
  k.center = c.center;
  k.scale = c.scale;
  k.shift = c.shift;
  k.y = s.y.data;
  k.ldy = s.y.ld * k.lanes;
  k.activation = s.end.activation;
  k.pre_activation = s.end.pre_activation;
  context.kernels.scale_channels(context.stream, k);
}

void BatchNorm::backward(const Context& context, const float* packed, const Stage& s) const {
  const Coefficients c(s.statistics ? s.statistics : const_cast<float*>(packed), image_.channels);
  ScaleChannels k;
  k.lanes = images() ? context.lanes : 1;
  k.rows = images() ? context.blocks(s.rows) : s.rows;
  k.pixels = image_.pixels();
  k.channels = image_.channels;
  k.x = s.x.data;
  k.ldx = s.x.ld * k.lanes;
  k.center = c.center;
  k.scale = c.slope;
  k.shift = c.offset;
  k.add = s.dy.data;
  k.ld_add = s.dy.ld * k.lanes;
  k.add_scale = c.scale;
  k.y = s.dx.data;
  k.ldy = s.dx.ld * k.lanes;
  context.kernels.scale_channels(context.stream, k);
  if (images())
    finish_images(context, s, in);
  else
    finish_backward(context, s.rows, in, s.dx, s.end);
}

// ---- statistics of a batch ----

void BatchNorm::gather_forward(const Kernels& k, Index rows, Rows x, float* statistics) const {
  const Coefficients c(statistics, image_.channels);
  k.channel_moments(nullptr, {rows, image_.pixels(), image_.channels, x.data, x.ld}, c.center, c.variance);
  for (std::size_t i = 0; i < static_cast<std::size_t>(image_.channels); ++i) {
    c.scale[i] = parameters[kWeight].value[i] / std::sqrt(c.variance[i] + eps_);
    c.shift[i] = parameters[kBias].value[i];
  }
}

void BatchNorm::gather_backward(const Kernels& k, Index rows, Rows x, Rows dy, float* statistics,
                                float* const* gradient) const {
  const Coefficients c(statistics, image_.channels);
  const bool fixed = c.variance[0] == kFixed;
  // bias: sum of dy; weight: sum of dy * (x - center), yet to be divided by the deviation
  k.channel_products(nullptr, {rows, image_.pixels(), image_.channels, x.data, x.ld}, c.center, dy.data, dy.ld,
                     gradient[kBias], gradient[kWeight]);
  const float share = 1.0f / static_cast<float>(rows * image_.pixels());
  for (Index i = 0; i < image_.channels; ++i) {
    const float variance = fixed ? parameters[kVariance].value[static_cast<std::size_t>(i)] : c.variance[i];
    const float inverse = 1.0f / std::sqrt(variance + eps_);
    if (!fixed) {
      c.slope[i] = -c.scale[i] * inverse * inverse * gradient[kWeight][i] * share;
      c.offset[i] = -c.scale[i] * gradient[kBias][i] * share;
    }
    gradient[kWeight][i] *= inverse;
  }
}

// Exponential means, the variance without bias, as torch has it.
void BatchNorm::keep_statistics(Index rows, const float* statistics) {
  const Coefficients c(const_cast<float*>(statistics), image_.channels);
  const auto n = static_cast<float>(rows * image_.pixels());
  const float unbiased = n > 1.0f ? n / (n - 1.0f) : 1.0f;
  for (std::size_t i = 0; i < static_cast<std::size_t>(image_.channels); ++i) {
    float &mean = parameters[kMean].value[i], &variance = parameters[kVariance].value[i];
    mean += momentum_ * (c.center[i] - mean);
    variance += momentum_ * (c.variance[i] * unbiased - variance);
  }
}

}  // namespace epsball
