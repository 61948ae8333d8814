// Projections of one row onto a norm ball around x0 within [lo, hi], by the block that has the row; mirrors
// cpp/project.h and the row functions of cpp/project.cpp. Shared by project, step and random.
//
// Coordinates are rounded towards x0, so the bound holds for the floats that are stored, not only before rounding.
#pragma once

#include "ball.h"
#include "kernels.h"
#include "row.cuh"

namespace epsball::cuda {

// One row of BallRows.
struct Row {
  Index features;
  float* x;
  const float* x0;
  const float* lo;
  const float* hi;
};

__device__ __forceinline__ Row row_of(const BallRows& b, Index r) {
  return {b.features, b.x + r * b.ld, b.x0 + r * b.ld, b.lo + r * b.ld, b.hi + r * b.ld};
}

__device__ __forceinline__ float clipped(const Row& r, Index i, float v) { return clip(v, r.lo[i], r.hi[i]); }

__device__ __forceinline__ double difference(const Row& r, Index i) {
  return static_cast<double>(r.x[i]) - static_cast<double>(r.x0[i]);  // a float could overflow
}

__device__ __forceinline__ double magnitude(double v) { return v < 0.0 ? -v : v; }

// x0 moved by d, which comes out no longer than it is, denormals included: the nearest float to something a rounding
// shorter.
__device__ __forceinline__ float moved_by(float x0, double d) {
  const float length = static_cast<float>(magnitude(d) * (1.0 - 0x1p-24) - 0x1p-150);
  return add_toward(x0, with_sign_of(length, static_cast<float>(d)));
}

__device__ inline void project_linf(const Row& r, float eps) {
  for_features(r.features,
               [&](Index i) { r.x[i] = clipped(r, i, clip(r.x[i], sub_up(r.x0[i], eps), add_down(r.x0[i], eps))); });
}

__device__ inline void project_l2(const Row& r, float eps) {
  const double norm = ::sqrt(row_sum(r.features, [&](Index i) { return difference(r, i) * difference(r, i); }));
  const bool outside = norm > within(eps, r.features);
  const double scale = aim(eps, r.features) / norm;
  for_features(r.features, [&](Index i) {
    r.x[i] = clipped(r, i, outside ? moved_by(r.x0[i], difference(r, i) * scale) : r.x[i]);
  });
}

// What is left of |x_i - x0_i| after a threshold of above - rise, capped by the room that the box leaves in that
// direction. For far points the two must not be one number: it would round by more than eps.
__device__ __forceinline__ double beyond(const Row& r, Index i, double above, double rise) {
  const double d = difference(r, i), x0 = r.x0[i];
  const double room = d < 0.0 ? x0 - static_cast<double>(r.lo[i]) : static_cast<double>(r.hi[i]) - x0;
  const double past = (magnitude(d) - above) + rise, most = past < room ? past : room;
  return most > 0.0 ? most : 0.0;
}

struct Threshold {
  double above, rise;
};

// The threshold that leaves a total of `target`: first the float just above it (doubled, as a difference of two floats
// may overflow), then, where floats lie too far apart, a float to go below that, then the linear rest.
__device__ inline Threshold threshold_l1(const Row& r, float top, double target) {
  const auto total = [&](double above, double rise) {
    return row_sum(r.features, [&](Index i) { return beyond(r, i, above, rise); });
  };
  const float half = first_float(top, [&](float t) { return total(2.0 * t, 0.0) <= target; });
  const double above = 2.0 * half;
  float rise = 0.0f, next = half > 0.0f ? 2.0f * (half - float_of_bits(bits_of(half) - 1)) : 0.0f;
  if (next > target * 0x1p-16) {
    next = first_float(next, [&](float t) { return total(above, t) > target; });
    rise = next > 0.0f ? float_of_bits(bits_of(next) - 1) : 0.0f;
  }
  const double count =
      row_sum(r.features, [&](Index i) { return beyond(r, i, above, next) > beyond(r, i, above, rise) ? 1.0 : 0.0; });
  const double share = count > 0.0 ? (target - total(above, rise)) / count : 0.0;
  const double whole = rise + share, most = next;
  return {above, (whole < most ? whole : most) * (1.0 - 0x1p-50)};  // the factor outweighs the rounding of the sums
}

// Euclidean projection onto {||x - x0||_1 <= eps} and [lo, hi]: every distance shrinks by one threshold, and the room
// in the box caps it (Duchi et al. 2008; with the box: Croce and Hein 2021).
__device__ inline void project_l1(const Row& r, float eps) {
  const double length = row_sum(r.features, [&](Index i) {
    return magnitude(static_cast<double>(clipped(r, i, r.x[i])) - static_cast<double>(r.x0[i]));
  });
  if (length <= within(eps, r.features)) {
    for_features(r.features, [&](Index i) { r.x[i] = clipped(r, i, r.x[i]); });
    return;  // the whole block
  }
  const float largest = row_max<float>(r.features, [&](Index i) { return abs(r.x[i] * 0.5f - r.x0[i] * 0.5f); });
  const float top = float_of_bits(bits_of(largest) + 1);  // in case the difference was rounded down
  const Threshold t = threshold_l1(r, top, aim(eps, r.features));
  for_features(r.features, [&](Index i) {
    const double d = beyond(r, i, t.above, t.rise);
    r.x[i] = clipped(r, i, moved_by(r.x0[i], r.x[i] < r.x0[i] ? -d : d));
  });
}

// Keeping a change d as its clipped part c leaves (d - c)^2 of the distance instead of d^2.
__device__ __forceinline__ float l0_gain(const Row& r, Index i) {
  const float d = r.x[i] - r.x0[i], over = r.x[i] - clipped(r, i, r.x[i]);
  return max(d * d - over * over, 0.0f);
}

// At most floor(eps) features may differ from x0: those where keeping the clipped change gains most, the first of
// equals.
__device__ inline void project_l0(const Row& r, float eps) {
  const auto count = [&](auto counts) { return row_sum(r.features, [&](Index i) { return counts(i) ? 1.0 : 0.0; }); };
  const float top = row_max<float>(r.features, [&](Index i) { return l0_gain(r, i); });
  const float above =
      first_float(top, [&](float t) { return count([&](Index i) { return l0_gain(r, i) > t; }) <= eps; });
  const auto tie = [&](Index i) { return l0_gain(r, i) == above && above > 0.0f; };
  const double room = eps - count([&](Index i) { return l0_gain(r, i) > above; });
  const Index ties_below =
      leading(r.features, [&](Index m) { return count([&](Index i) { return i < m && tie(i); }) <= room; });
  for_features(r.features, [&](Index i) {
    const bool kept = l0_gain(r, i) > above || (i < ties_below && tie(i));
    r.x[i] = kept ? clipped(r, i, r.x[i]) : r.x0[i];
  });
}

// All threads of the block call it; each reads and writes its own features of for_features only.
__device__ inline void project_row(Norm norm, const Row& row, float eps) {
  switch (norm) {
    case Norm::linf:
      return project_linf(row, eps);
    case Norm::l2:
      return project_l2(row, eps);
    case Norm::l1:
      return project_l1(row, eps);
    case Norm::l0:
      return project_l0(row, eps);
  }
}

}  // namespace epsball::cuda
