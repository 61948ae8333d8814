// The nearest point of a plane within the box, and how far the box goes; mirrors cpp/hyperplane.cpp.
#include "launch.cuh"

#include "row.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// ---- kernels ----

__global__ void farthest_corner_kernel(CornerRows a, const std::int32_t* active) {
  for_rows(rows_now(a.rows, active), [&](Index r) {
    const auto length = [&](Index i) {
      const Index at = r * a.ld + i;
      const double x = a.x[at], down = x - static_cast<double>(a.lo[at]), up = static_cast<double>(a.hi[at]) - x;
      return up > down ? up : down;
    };
    const double norm = row_norm(a.norm, a.features, length);
    if (threadIdx.x == 0) a.out[r] = static_cast<float>(norm);
  });
}

// One row of HyperplaneRows; `gap` is what the value must still rise.
struct PlaneRow {
  Norm norm;
  Index features;
  const float* x;
  const float* normal;
  const float* lo;
  const float* hi;
  float sign;
  double gap;

  __device__ PlaneRow(const HyperplaneRows& a, Index r)
      : norm(a.norm),
        features(a.features),
        x(a.x + r * a.ld),
        normal(a.normal + r * a.ld),
        lo(a.lo + r * a.ld),
        hi(a.hi + r * a.ld) {
    const float* at = a.at + r * a.ld;
    const double rise = row_sum(features, [&](Index i) {
      return static_cast<double>(normal[i]) * (static_cast<double>(x[i]) - static_cast<double>(at[i]));
    });
    const double value = static_cast<double>(a.value[r]) + rise;
    sign = value < 0.0 ? 1.0f : -1.0f;
    gap = value < 0.0 ? -value : value;
  }

  __device__ float steepness(Index i) const { return abs(normal[i]); }
  // How far x can move in the direction that closes the gap.
  __device__ float room(Index i) const {
    const float towards = normal[i] * sign;
    return max(towards > 0.0f ? hi[i] - x[i] : towards < 0.0f ? x[i] - lo[i] : 0.0f, 0.0f);
  }
  // Length of a feature's move under a multiplier, as in LinearRow.
  __device__ float length(Index i, float t) const {
    if (norm == Norm::l1) return steepness(i) > t ? room(i) : 0.0f;
    return min(norm == Norm::linf ? t : steepness(i) * t, room(i));
  }
  __device__ double gained(Index i, float length) const {
    return static_cast<double>(steepness(i)) * static_cast<double>(length);
  }
  __device__ double gain(float t) const {
    return row_sum(features, [&](Index i) { return gained(i, length(i, t)); });
  }
  __device__ float moved(Index i, float length) const {
    return clip(x[i] + with_sign_of(length, normal[i] * sign), lo[i], hi[i]);
  }
};

// The multiplier grows until the gap is closed, or every feature is at its end of the box.
__device__ void nearest_of_plane(const PlaneRow& p, float* z) {
  constexpr float kMost = 0x1.fffffep127f;
  const bool reachable = p.gain(kMost) >= p.gap;
  const float t = first_float(kMost, [&](float v) { return !reachable || p.gain(v) >= p.gap; });
  for_features(p.features, [&](Index i) { z[i] = p.moved(i, p.length(i, reachable ? t : kMost)); });
}

// Fills the steepest features' room first; equals in order of their index.
__device__ void nearest_of_plane_l1(const PlaneRow& p, float* z) {
  const float top = row_max<float>(p.features, [&](Index i) { return abs(p.normal[i]); });
  const float t = first_float(top, [&](float v) { return p.gain(v) <= p.gap; });
  const double left = p.gap - p.gain(t);
  const auto tie = [&](Index i) { return p.steepness(i) == t && t > 0.0f; };
  const auto spent = [&](Index m) {
    return row_sum(p.features, [&](Index i) { return i < m && tie(i) ? p.gained(i, p.room(i)) : 0.0; });
  };
  const Index filled = leading(p.features, [&](Index m) { return spent(m) <= left; });
  const float rest = static_cast<float>((left - spent(filled)) / t);
  for_features(p.features, [&](Index i) {
    float length = p.length(i, t);
    if (tie(i)) length = i < filled ? p.room(i) : i == filled ? min(rest, p.room(i)) : 0.0f;
    z[i] = p.moved(i, length);
  });
}

__global__ void hyperplane_kernel(HyperplaneRows a, const std::int32_t* active) {
  for_rows(rows_now(a.rows, active), [&](Index r) {
    const PlaneRow p(a, r);
    float* z = a.z + r * a.ld;
    a.norm == Norm::l1 ? nearest_of_plane_l1(p, z) : nearest_of_plane(p, z);
  });
}

// ---- what the table calls ----

void farthest_corner(Stream stream, const CornerRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(farthest_corner_kernel, rows_grid(a.rows), kRowThreads, 0, s, a, s.active);
}

void hyperplane(Stream stream, const HyperplaneRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(hyperplane_kernel, rows_grid(a.rows), kRowThreads, 0, s, a, s.active);
}

}  // namespace

void add_hyperplane(Kernels& k) {
  k.farthest_corner = farthest_corner;
  k.hyperplane = hyperplane;
}

}  // namespace epsball::cuda
