// Small seeded models for the C++ tests.
#pragma once

#include "guarded.h"
#include "layers/activation.h"
#include "layers/dropout.h"
#include "layers/linear.h"
#include "model.h"

namespace epsball::test {

// Linear layers of these widths with an activation, and maybe dropout, between them.
inline Layers mlp(const std::vector<Index>& widths, Activation activation = Activation::relu, float dropout = 0.0f) {
  Layers layers;
  for (std::size_t i = 1; i < widths.size(); ++i) {
    auto linear = std::make_unique<Linear>(widths[i - 1], widths[i], true);
    const float bound = 2.0f / std::sqrt(static_cast<float>(widths[i - 1]));
    for (Parameter& p : linear->parameters)
      p.value = uniform_floats(static_cast<Index>(p.value.size()), static_cast<unsigned>(i), -bound, bound);
    layers.push_back(std::move(linear));
    if (i + 1 == widths.size()) break;
    layers.push_back(std::make_unique<ActivationLayer>(widths[i], ActivationSpec{activation, 0.5f}));
    if (dropout > 0.0f) layers.push_back(std::make_unique<Dropout>(widths[i], dropout));
  }
  return layers;
}

inline std::vector<std::int32_t> labels(Index rows, Index classes) {
  std::vector<std::int32_t> y(static_cast<std::size_t>(rows));
  for (std::size_t i = 0; i < y.size(); ++i)
    y[i] = static_cast<std::int32_t>(i * 7 % static_cast<std::size_t>(classes));
  return y;
}

}  // namespace epsball::test
