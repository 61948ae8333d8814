// A kernel that slides over an image: its geometry, and which inputs and outputs see each other.
#pragma once

#include <vector>

#include "layers/layer.h"

namespace epsball {

// Along one axis.
struct Axis {
  Index in = 1, kernel = 1, stride = 1, padding = 0;

  Index out() const { return (in + 2 * padding - kernel) / stride + 1; }
  // What each output reads, with taps in their order.
  std::vector<Taps> forward() const;
  // What each input's gradient reads from the outputs, with taps in the order of backward_taps.
  std::vector<Taps> backward() const;
  // Taps grouped by the inputs they serve (those a stride apart), each group descending: outputs then ascend.
  std::vector<Index> backward_taps() const;
};

// Taps as passes read them, in packed memory, counted in floats.
inline Index packed_taps(std::size_t count) {
  return padded(static_cast<Index>((count * sizeof(Taps) + sizeof(float) - 1) / sizeof(float)));
}
inline void copy_taps(const Kernels& k, float* packed, const std::vector<Taps>& taps) {
  k.copy(nullptr, packed, taps.data(), static_cast<Index>(taps.size() * sizeof(Taps)));
}
inline const Taps* taps_at(const float* packed) { return reinterpret_cast<const Taps*>(packed); }

struct Window {
  Axis down, across;

  // Whether every input is read by one output.
  bool tiles() const {
    const auto tiled = [](const Axis& a) { return a.kernel == a.stride && a.padding == 0 && a.in % a.kernel == 0; };
    return tiled(down) && tiled(across);
  }
  Index taps() const { return down.kernel * across.kernel; }
  Image output(Index channels) const { return {channels, down.out(), across.out()}; }
};

}  // namespace epsball
