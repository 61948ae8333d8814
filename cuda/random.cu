// Random starts, drawn uniformly from the ball by counter: a row's draw depends on its id, the seed and the restart
// only. Integers and uniforms are the CPU's bits; mirrors cpp/random.cpp.
#include "launch.cuh"

#include "flat.cuh"
#include "project.cuh"
#include "random.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// Separates the uses of one seed; the low 24 bits count restarts.
constexpr std::uint32_t kRadius = 1u << 24, kInitial = 2u << 24, kNoise = 3u << 24;

__device__ __forceinline__ float unit_above_zero(std::uint32_t bits) { return to_unit(bits) + 5.9604645e-8f; }

__device__ float first_uniform(std::uint64_t seed, std::uint32_t salt, Index id) {
  std::uint32_t words[4];
  philox_words(seed, salt, id, 0, words);
  return unit_above_zero(words[0]);
}

// Runs f(i, u) for the uniforms of all n elements.
template <class F>
__device__ __forceinline__ void for_uniforms(Index n, std::uint64_t seed, std::uint32_t salt, Index id, F f) {
  for_philox(n, seed, salt, id, [&](Index element, const std::uint32_t (&words)[4]) {
    for (int w = 0; w < 4; ++w)
      if (element + 16 * w < n) f(element + 16 * w, to_unit(words[w]));
  });
}

// Runs f(i, v) with four standard normals per Philox block (Box and Muller).
template <class F>
__device__ __forceinline__ void for_normals(Index n, std::uint64_t seed, std::uint32_t salt, Index id, F f) {
  for_philox(n, seed, salt, id, [&](Index element, const std::uint32_t (&words)[4]) {
    for (int pair = 0; pair < 4; pair += 2) {
      const float radius = sqrt(log(unit_above_zero(words[pair])) * -2.0f);
      float c, s;
      cos_sin_turn(to_unit(words[pair + 1]), c, s);
      const Index i = element + 16 * pair;
      if (i < n) f(i, radius * c);
      if (i + 16 < n) f(i + 16, radius * s);
    }
  });
}

__device__ void start_linf(const Row& r, float eps, std::uint64_t seed, std::uint32_t salt, Index id) {
  for_uniforms(r.features, seed, salt, id,
               [&](Index i, float u) { r.x[i] = clipped(r, i, r.x0[i] + (2.0f * u - 1.0f) * eps); });
}

// x holds a direction: x0 + scale * x, brought into ball and box.
__device__ void place(Norm norm, const Row& r, float scale, float eps) {
  for_features(r.features, [&](Index i) { r.x[i] = mul_add(r.x[i], scale, r.x0[i]); });
  project_row(norm, r, eps);
}

// A Gaussian direction at radius eps * u^(1 / features), or eps.
__device__ void start_l2(const Row& r, float eps, bool surface, std::uint64_t seed, std::uint32_t salt, Index id) {
  for_normals(r.features, seed, salt, id, [&](Index i, float v) { r.x[i] = v; });
  barrier();  // from here on the features are dealt out differently
  const double norm = ::sqrt(row_sum(r.features, [&](Index i) { return static_cast<double>(r.x[i]) * r.x[i]; }));
  const float u = first_uniform(seed, salt | kRadius, id);
  const float radius = surface ? eps : eps * exp(log(u) / static_cast<float>(r.features));
  place(Norm::l2, r, norm > 0.0 ? static_cast<float>(radius / norm) : 0.0f, eps);
}

// Exponential variables e_i divided by their sum and one more are uniform in the simplex, without the one more on its
// face; signs make it the L1 ball.
__device__ void start_l1(const Row& r, float eps, bool surface, std::uint64_t seed, std::uint32_t salt, Index id) {
  for_philox(r.features, seed, salt, id, [&](Index element, const std::uint32_t (&words)[4]) {
    for (int w = 0; w < 4; ++w) {
      if (element + 16 * w >= r.features) continue;
      const float e = -log(unit_above_zero(words[w]));
      r.x[element + 16 * w] = words[w] & 1u ? -e : e;  // bit 0 is not among the 24 of the uniform
    }
  });
  barrier();
  const float more = surface ? 0.0f : -log(first_uniform(seed, salt | kRadius, id));
  const double all = row_sum(r.features, [&](Index i) { return magnitude(r.x[i]); }) + static_cast<double>(more);
  place(Norm::l1, r, all > 0.0 ? static_cast<float>(eps / all) : 0.0f, eps);
}

// eps times the signs of a Gaussian, as R+FGSM starts.
__device__ void start_signs(Norm norm, const Row& r, float eps, std::uint64_t seed, std::uint32_t salt, Index id) {
  for_uniforms(r.features, seed, salt, id,
               [&](Index i, float u) { r.x[i] = clipped(r, i, r.x0[i] + (u < 0.5f ? -eps : eps)); });
  if (norm == Norm::linf) return;
  barrier();
  project_row(norm, r, eps);
}

// Uniform in the cube, scaled until it touches the surface.
__device__ void start_cube(const Row& r, float eps, std::uint64_t seed, std::uint32_t salt, Index id) {
  for_uniforms(r.features, seed, salt, id, [&](Index i, float u) { r.x[i] = 2.0f * u - 1.0f; });
  barrier();
  const float top = row_max<float>(r.features, [&](Index i) { return abs(r.x[i]); });
  const float scale = top > 0.0f ? eps / top : 0.0f;
  for_features(r.features, [&](Index i) { r.x[i] = clipped(r, i, mul_add(r.x[i], scale, r.x0[i])); });
}

__device__ void start_gaussian(Norm norm, const Row& r, float eps, std::uint64_t seed, std::uint32_t salt, Index id) {
  const float deviation = gaussian_deviation(norm, eps, r.features);
  for_normals(r.features, seed, salt, id, [&](Index i, float v) { r.x[i] = mul_add(v, deviation, r.x0[i]); });
  barrier();
  project_row(norm, r, eps);
}

__device__ void start_salt_and_pepper(Norm norm, const Row& r, float eps, std::uint64_t seed, std::uint32_t salt,
                                      Index id) {
  const float part = first_uniform(seed, salt | kRadius, id);
  for_uniforms(r.features, seed, salt, id, [&](Index i, float u) {
    const float up = min(r.hi[i], r.x0[i] + eps), down = max(r.lo[i], r.x0[i] - eps);
    r.x[i] = u < 0.5f * part ? up : u < part ? down : r.x0[i];
  });
  barrier();
  project_row(norm, r, eps);
}

__device__ void start_normal(const Row& r, float eps, std::uint64_t seed, std::uint32_t salt, Index id) {
  for_normals(r.features, seed, salt, id, [&](Index i, float v) { r.x[i] = clipped(r, i, mul_add(v, eps, r.x0[i])); });
}

// lo + u (hi - lo), where both are finite.
__device__ void start_box(const Row& r, std::uint64_t seed, std::uint32_t salt, Index id) {
  for_uniforms(r.features, seed, salt, id,
               [&](Index i, float u) { r.x[i] = clipped(r, i, mul_add(u, r.hi[i] - r.lo[i], r.lo[i])); });
}

__device__ void start_row(Norm norm, Start kind, const Row& r, float eps, std::uint64_t seed, std::uint32_t salt,
                          Index id) {
  if (kind == Start::signs) return start_signs(norm, r, eps, seed, salt, id);
  if (kind == Start::gaussian) return start_gaussian(norm, r, eps, seed, salt, id);
  if (kind == Start::normal) return start_normal(r, eps, seed, salt, id);
  if (kind == Start::box) return start_box(r, seed, salt, id);
  if (kind == Start::salt_and_pepper) return start_salt_and_pepper(norm, r, eps, seed, salt, id);
  const bool sphere = kind == Start::sphere;
  if (norm == Norm::linf) return sphere ? start_cube(r, eps, seed, salt, id) : start_linf(r, eps, seed, salt, id);
  if (norm == Norm::l2) return start_l2(r, eps, sphere, seed, salt, id);
  start_l1(r, eps, sphere, seed, salt, id);
}

// ---- kernels ----

__global__ void start_kernel(StartRows a, const std::int32_t* active) {
  for_rows(rows_now(a.ball.rows, active), [&](Index row) {
    start_row(a.ball.norm, a.kind, row_of(a.ball, row), a.ball.eps[row], a.seed, a.restart, a.ids[row]);
  });
}

__global__ void noise_kernel(NoiseRows a, const std::int32_t* active) {
  for_rows(rows_now(a.rows, active), [&](Index row) {
    const std::uint32_t salt = kNoise | ((*a.draw + a.more) & 0xffffffu);
    float* out = a.out + row * a.ld;
    if (a.kind == Noise::normal)
      for_normals(a.features, a.seed, salt, a.ids[row], [&](Index i, float v) { out[i] = v; });
    else
      for_uniforms(a.features, a.seed, salt, a.ids[row], [&](Index i, float u) {
        out[i] = a.kind == Noise::signs ? (u < 0.5f ? -1.0f : 1.0f) : 2.0f * u - 1.0f;
      });
  });
}

__global__ void uniform_kernel(Index count, float lo, float hi, std::uint64_t seed, Index id, float* out) {
  const Index blocks = ceil_div<Index>(count, kPhiloxGroup) * 16;
  for_flat(blocks, [&](Index b) {
    const Index element = b / 16 * kPhiloxGroup + b % 16;
    std::uint32_t words[4];
    philox_words(seed, kInitial, id, element, words);
    for (int w = 0; w < 4; ++w)
      if (element + 16 * w < count) out[element + 16 * w] = to_unit(words[w]) * (hi - lo) + lo;
  });
}

// ---- what the table calls ----

void start(Stream stream, const StartRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(start_kernel, rows_grid(a.ball.rows), kRowThreads, 0, s, a, s.active);
}

void noise(Stream stream, const NoiseRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(noise_kernel, rows_grid(a.rows), kRowThreads, 0, s, a, s.active);
}

// No slab's rows: `active` does not matter.
void uniform(Stream stream, Index count, float lo, float hi, std::uint64_t seed, Index id, float* out) {
  launch(uniform_kernel, flat_grid(ceil_div<Index>(count, kPhiloxGroup) * 16), kFlatThreads, 0, device_stream(stream),
         count, lo, hi, seed, id, out);
}

}  // namespace

void add_random(Kernels& k) {
  k.start = start;
  k.noise = noise;
  k.uniform = uniform;
}

}  // namespace epsball::cuda
