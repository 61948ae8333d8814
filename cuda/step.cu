// Attack steps: the box of an attack, and the move that raises the loss most within a norm, followed by the projection;
// mirrors cpp/step.cpp.
#include "launch.cuh"

#include "elements.cuh"
#include "project.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// What a step on the edge of the float range may leave: no infinity, which projections could not bring back.
__device__ __forceinline__ float finite(float x) { return clip(x, -0x1.fffffep127f, 0x1.fffffep127f); }

__device__ void step_linf(const Row& r, const float* gradient, float size) {
  for_features(r.features, [&](Index i) { r.x[i] = clipped(r, i, finite(r.x[i] + sign(gradient[i]) * size)); });
}

// x += size * g / ||g||_2 over the features that can move (lo < hi), with g divided by its largest magnitude first so
// that no square under- or overflows.
__device__ void step_l2(const Row& r, const float* gradient, float size) {
  const auto free = [&](Index i) { return r.lo[i] < r.hi[i] ? gradient[i] : 0.0f; };
  const float top = row_max<float>(r.features, [&](Index i) { return abs(free(i)); });
  if (!(top > 0.0f)) return;  // the whole block
  const float inverse = 1.0f / top;
  // The inverse of a denormal overflows; two factors reach it.
  const float first = inverse < __builtin_inff() ? 1.0f : 0x1p+100f;
  const float second = inverse < __builtin_inff() ? inverse : 1.0f / (top * 0x1p+100f);
  const double squares = row_sum(r.features, [&](Index i) {
    const double g = free(i) * first * second;
    return g * g;
  });
  const float scale = static_cast<float>(size / ::sqrt(squares));
  for_features(r.features, [&](Index i) { r.x[i] = finite(mul_add(free(i) * first * second, scale, r.x[i])); });
}

// Spends `size` on the largest |g| first, filling each feature's room in the box; equal |g| in order of their index.
__device__ void step_l1(const Row& r, const float* gradient, float top, float size) {
  const auto room = [&](Index i) {
    const float g = gradient[i];
    return g > 0.0f ? r.hi[i] - r.x[i] : g < 0.0f ? r.x[i] - r.lo[i] : 0.0f;
  };
  const auto spent = [&](auto counts) {
    return row_sum(r.features, [&](Index i) { return counts(i) ? static_cast<double>(room(i)) : 0.0; });
  };
  const auto spent_above = [&](float above) { return spent([&](Index i) { return abs(gradient[i]) > above; }); };
  const float above = first_float(top, [&](float t) { return spent_above(t) <= size; });
  const auto tie = [&](Index i) { return abs(gradient[i]) == above && above > 0.0f; };
  const auto spent_ties = [&](Index m) { return spent([&](Index i) { return i < m && tie(i); }); };
  const double left = size - spent_above(above);
  const Index filled = leading(r.features, [&](Index m) { return spent_ties(m) <= left; });
  const float rest = static_cast<float>(left - spent_ties(filled));  // for the first tie that is not filled
  for_features(r.features, [&](Index i) {
    float move = 0.0f;
    if (abs(gradient[i]) > above || (i < filled && tie(i)))
      move = room(i);
    else if (i == filled && tie(i))
      move = min(rest, room(i));
    r.x[i] = clipped(r, i, finite(mul_add(sign(gradient[i]), move, r.x[i])));
  });
}

// The `count` largest |g| of features that have room to move, equals included, share `size` in equal parts.
__device__ void step_top(const Row& r, const float* gradient, float top, float count, float size) {
  const auto free = [&](Index i) {
    const float g = gradient[i];
    return (g > 0.0f ? r.x[i] < r.hi[i] : r.x[i] > r.lo[i]) ? g : 0.0f;
  };
  const auto counted = [&](auto counts) { return row_sum(r.features, [&](Index i) { return counts(i) ? 1.0 : 0.0; }); };
  const float least = first_float(
      top, [&](float t) { return counted([&](Index i) { return abs(free(i)) > t; }) < static_cast<double>(count); });
  const auto move = [&](Index i) { return abs(free(i)) >= least ? sign(free(i)) : 0.0f; };
  const double movers = counted([&](Index i) { return move(i) != 0.0f; });
  const float share = movers > 0.0 ? size / static_cast<float>(movers) : 0.0f;
  for_features(r.features, [&](Index i) { r.x[i] = finite(mul_add(move(i), share, r.x[i])); });
}

// ---- kernels ----

__global__ void limits_kernel(Limits a, const std::int32_t* active) {
  for_elements(rows_now(a.rows, active), a.features, [&](Index r, Index i) {
    const Index at = r * a.ld + i;
    const float x0 = a.x0[at];
    float lo = a.box_lo[i], hi = a.box_hi[i];
    if (a.eps) {
      lo = max(lo, sub_up(x0, a.eps[r]));
      hi = min(hi, add_down(x0, a.eps[r]));
    }
    if (a.mask && !a.mask[r * a.mask_ld + i]) lo = hi = x0;
    // A float64 input may round to a float just outside the box; the box wins.
    a.lo[at] = min(lo, hi);
    a.hi[at] = hi;
  });
}

__global__ void step_kernel(StepRows a, const std::int32_t* active) {
  for_rows(rows_now(a.ball.rows, active), [&](Index row) {
    const Row r = row_of(a.ball, row);
    const float* gradient = a.gradient + row * a.gradient_ld;
    const float top = row_max<float>(r.features, [&](Index i) { return abs(gradient[i]); });
    if (!(top > 0.0f)) return;  // no direction to go, for the whole block
    if (a.moving && threadIdx.x == 0) a.moving[row] = 1;
    const float size = a.size[row];
    if (a.ball.norm == Norm::linf) return step_linf(r, gradient, size);  // [lo, hi] holds the ball
    if (a.ball.norm == Norm::l2) step_l2(r, gradient, size);
    if (a.ball.norm == Norm::l1) a.top ? step_top(r, gradient, top, a.top[row], size) : step_l1(r, gradient, top, size);
    project_row(a.ball.norm, r, a.ball.eps[row]);
  });
}

// ---- what the table calls ----

void limits(Stream stream, const Limits& a) {
  const DeviceStream s = device_stream(stream);
  launch(limits_kernel, elements_grid(a.rows, a.features), elements_block(), 0, s, a, s.active);
}

void step(Stream stream, const StepRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(step_kernel, rows_grid(a.ball.rows), kRowThreads, 0, s, a, s.active);
}

}  // namespace

void add_step(Kernels& k) {
  k.limits = limits;
  k.step = step;
}

}  // namespace epsball::cuda
