// What the CUDA tests compare with: the CPU's tables, and their bits where those fuse as a GPU does.
#pragma once

#include <cmath>
#include <vector>

#include "dispatch.h"
#include "guarded.h"

namespace epsball::test {

// The scalar table of a baseline x86-64 rounds a product before it adds; all other tables fuse.
inline bool fuses(const Kernels& table) {
#ifdef __x86_64__
  return table.lanes > 1;
#else
  return true;
#endif
}

// As many floats, each within `tolerance` of its size or of 1; NaN is near nothing but NaN.
inline bool all_near(const std::vector<float>& got, const std::vector<float>& wanted, double tolerance) {
  bool ok = got.size() == wanted.size();
  for (std::size_t i = 0; ok && i < got.size(); ++i)
    ok = std::isnan(wanted[i]) ? std::isnan(got[i])
                               : std::fabs(got[i] - wanted[i]) <= tolerance * std::fmax(1.0f, std::fabs(wanted[i]));
  return ok;
}

}  // namespace epsball::test
