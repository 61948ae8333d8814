// Which taps an output has inside the image, and which outputs an input reaches.
#include "layers/window.h"

#include <algorithm>

namespace epsball {

std::vector<Taps> Axis::forward() const {
  std::vector<Taps> taps;
  for (Index o = 0; o < out(); ++o) {
    const Index start = o * stride - padding, first = std::max<Index>(start, 0);
    const Index count = std::max<Index>(std::min(start + kernel, in) - first, 0);
    taps.push_back({static_cast<std::int32_t>(count ? first : 0), static_cast<std::int32_t>(count),
                    static_cast<std::int32_t>(count ? first - start : 0)});
  }
  return taps;
}

std::vector<Index> Axis::backward_taps() const {
  std::vector<Index> order;
  for (Index group = 0; group < std::min(stride, kernel); ++group)
    for (Index tap = (kernel - 1 - group) / stride * stride + group; tap >= 0; tap -= stride) order.push_back(tap);
  return order;
}

std::vector<Taps> Axis::backward() const {
  const std::vector<Index> order = backward_taps();
  std::vector<Taps> taps;
  for (Index i = 0; i < in; ++i) {
    const Index at = i + padding;
    const Index first = at < kernel ? 0 : (at - kernel) / stride + 1, last = std::min(at / stride, out() - 1);
    if (last < first) {
      taps.push_back({});
      continue;
    }
    const auto tap = std::find(order.begin(), order.end(), at - first * stride) - order.begin();
    taps.push_back({static_cast<std::int32_t>(first), static_cast<std::int32_t>(last - first + 1),
                    static_cast<std::int32_t>(tap)});
  }
  return taps;
}

}  // namespace epsball
