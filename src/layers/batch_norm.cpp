// y = (x - mean) / sqrt(var + eps) * weight + bias, and its gradient through the mean and the variance.
#include "layers/batch_norm.h"

namespace epsball {
namespace {

enum : std::size_t { kWeight, kBias, kMean, kVariance };

}  // namespace

BatchNorm::BatchNorm(Image image, float eps, float momentum)
    : Layer(image.features(), image.features()), image_(image), images_{image, image}, eps_(eps), momentum_(momentum) {
  const auto n = static_cast<std::size_t>(image.channels);
  for (const char* name : {"weight", "bias", "running_mean", "running_var"})
    parameters.push_back({name, {image.channels}, std::vector<float>(n)});
  parameters[kMean].trained = parameters[kVariance].trained = false;
  parameters[kVariance].non_negative = true;
}

Index BatchNorm::packed_floats() const { return BatchNormArrays::kCount * padded(image_.channels); }
Index BatchNorm::statistics_floats() const { return packed_floats(); }

BatchNormChannels BatchNorm::channels(BatchNormStep step, float* to) const {
  BatchNormChannels b;
  b.step = step;
  b.channels = image_.channels;
  b.to = BatchNormArrays(to, image_.channels);
  b.eps = eps_;
  return b;
}

void BatchNorm::pack(const Kernels& k, const Values& values, float* packed, Index) const {
  BatchNormChannels b = channels(BatchNormStep::pack, packed);
  b.weight = values[kWeight];
  b.bias = values[kBias];
  b.running_mean = values[kMean];
  b.running_variance = values[kVariance];
  k.batch_norm(nullptr, b);
}

void BatchNorm::fold(const Kernels& k, const Values& own, FoldChannels& below) const {
  below.eps = eps_;
  below.scale = own[kWeight];
  below.shift = own[kBias];
  below.mean = own[kMean];
  below.variance = own[kVariance];
  k.fold(nullptr, below);
}

// ---- passes ----

// What both directions have in common: from x, y.
ScaleChannels BatchNorm::scale_channels(const Context& context, const Stage& s, Rows y) const {
  ScaleChannels k;
  k.lanes = images() ? context.lanes : 1;
  k.rows = images() ? context.blocks(s.rows) : s.rows;
  k.pixels = image_.pixels();
  k.channels = image_.channels;
  k.x = s.x.data;
  k.ldx = s.x.ld * k.lanes;
  k.y = y.data;
  k.ldy = y.ld * k.lanes;
  return k;
}

void BatchNorm::forward(const Context& context, const float* packed, const Stage& s) const {
  const BatchNormArrays c(s.statistics ? s.statistics : const_cast<float*>(packed), image_.channels);
  ScaleChannels k = scale_channels(context, s, s.y);
  k.center = c.center;
  k.scale = c.scale;
  k.shift = c.shift;
  k.activation = s.end.activation;
  k.pre_activation = s.end.pre_activation;
  context.kernels.scale_channels(context.stream, k);
}

void BatchNorm::backward(const Context& context, const float* packed, const Stage& s) const {
  const BatchNormArrays c(s.statistics ? s.statistics : const_cast<float*>(packed), image_.channels);
  ScaleChannels k = scale_channels(context, s, s.dx);
  k.center = c.center;
  k.scale = c.slope;
  k.shift = c.offset;
  k.add = s.dy.data;
  k.ld_add = s.dy.ld * k.lanes;
  k.add_scale = c.scale;
  context.kernels.scale_channels(context.stream, k);
  if (images())
    finish_images(context, s, in);
  else
    finish_backward(context, s.rows, in, s.dx, s.end);
}

// ---- statistics of a batch ----

void BatchNorm::running_statistics(const Kernels& k, const float* packed, float* statistics) const {
  k.copy(nullptr, statistics, packed, statistics_floats() * static_cast<Index>(sizeof(float)));
}

void BatchNorm::gather_forward(const Kernels& k, const float* packed, Index rows, Rows x, float* statistics) const {
  BatchNormChannels b = channels(BatchNormStep::forward, statistics);
  b.packed = BatchNormArrays(const_cast<float*>(packed), image_.channels);
  k.channel_moments(nullptr, {rows, image_.pixels(), image_.channels, x.data, x.ld}, b.to.center, b.to.variance);
  k.batch_norm(nullptr, b);
}

void BatchNorm::gather_backward(const Kernels& k, Index rows, Rows x, Rows dy, float* statistics,
                                float* const* gradient) const {
  BatchNormChannels b = channels(BatchNormStep::backward, statistics);
  b.dbias = gradient[kBias];
  b.dweight = gradient[kWeight];
  b.share = 1.0f / static_cast<float>(rows * image_.pixels());
  k.channel_products(nullptr, {rows, image_.pixels(), image_.channels, x.data, x.ld}, b.to.center, dy.data, dy.ld,
                     b.dbias, b.dweight);
  k.batch_norm(nullptr, b);
}

void BatchNorm::keep_statistics(const Kernels& k, const Values& own, Index rows, float* statistics) const {
  BatchNormChannels b = channels(BatchNormStep::keep, statistics);
  const auto n = static_cast<float>(rows * image_.pixels());
  b.unbiased = n > 1.0f ? n / (n - 1.0f) : 1.0f;
  b.momentum = momentum_;
  b.running_mean = own[kMean];
  b.running_variance = own[kVariance];
  k.batch_norm(nullptr, b);
}

}  // namespace epsball
