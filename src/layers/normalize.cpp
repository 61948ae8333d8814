// Channel constants spread over their pixels once, then one kernel.
#include "layers/normalize.h"

#include <cmath>
#include <utility>

namespace epsball {

Normalize::Normalize(const std::vector<float>& mean, const std::vector<float>& std, Index pixels)
    : Layer(static_cast<Index>(mean.size()) * pixels, static_cast<Index>(mean.size()) * pixels) {
  for (std::size_t c = 0; c < mean.size(); ++c)
    for (Index p = 0; p < pixels; ++p) {
      mean_.push_back(mean[c]);
      scale_.push_back(1.0f / std[c]);
    }
}

Normalize::Normalize(Index features, std::vector<float> scale)
    : Layer(features, features), mean_(scale.size()), scale_(std::move(scale)) {}

std::unique_ptr<Layer> Normalize::companion() const {
  std::vector<float> scale = scale_;
  for (float& s : scale) s = std::abs(s);
  return std::unique_ptr<Layer>(new Normalize(in, std::move(scale)));
}

void Normalize::pack_constants(const Kernels& k, float* packed) const {
  k.copy(nullptr, packed, mean_.data(), in * static_cast<Index>(sizeof(float)));
  k.copy(nullptr, packed + padded(in), scale_.data(), in * static_cast<Index>(sizeof(float)));
}

void Normalize::forward(const Context& context, const float* packed, const Stage& s) const {
  ScaleChannels c;
  c.rows = s.rows;
  c.channels = in;
  c.x = s.x.data;
  c.ldx = s.x.ld;
  c.center = packed;
  c.scale = packed + padded(in);
  c.y = s.y.data;
  c.ldy = s.y.ld;
  context.kernels.scale_channels(context.stream, c);
}

void Normalize::backward(const Context& context, const float* packed, const Stage& s) const {
  ScaleChannels c;
  c.rows = s.rows;
  c.channels = in;
  c.x = s.dy.data;
  c.ldx = s.dy.ld;
  c.scale = packed + padded(in);
  c.y = s.dx.data;
  c.ldy = s.dx.ld;
  context.kernels.scale_channels(context.stream, c);
  finish_backward(context, s.rows, in, s.dx, s.end);
}

}  // namespace epsball
