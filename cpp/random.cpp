// Random starts, drawn uniformly from the ball by counter: a row's draw depends on its id, the seed and the restart
// only.
#include "random.h"

#include "project.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

// Separates the uses of one seed; the low 24 bits count restarts.
constexpr std::uint32_t kRadius = 1u << 24, kInitial = 2u << 24, kNoise = 3u << 24;

EPSBALL_INLINE Vec unit_above_zero(UVec bits) { return to_unit(bits) + 5.9604645e-8f; }

// Runs f(i, m, v) with four standard normals per block (Box and Muller).
template <class F>
EPSBALL_INLINE void for_normals(Index n, std::uint64_t seed, std::uint32_t salt, Index id, F f) {
  for_philox(n, seed, salt, id, [&](Index group, Index offset, UVec(&words)[4]) {
    for (int pair = 0; pair < 4; pair += 2) {
      const Vec radius = sqrt(log(unit_above_zero(words[pair])) * -2.0f);
      Vec c, s;
      cos_sin_turn(to_unit(words[pair + 1]), c, s);
      for (int half = 0; half < 2; ++half) {
        const Index i = group + 16 * (pair + half) + offset;
        if (i < n) f(i, n - i < kLanes ? n - i : kLanes, radius * (half ? s : c));
      }
    }
  });
}

EPSBALL_INLINE float first_uniform(std::uint64_t seed, std::uint32_t salt, Index id) {
  UVec words[4];
  philox_blocks(seed, salt, id, 0, words);
  float u[kLanes];
  store(u, unit_above_zero(words[0]));
  return u[0];
}

void start_linf(const Row& r, float eps, std::uint64_t seed, std::uint32_t salt, Index id) {
  for_uniforms(r.features, seed, salt, id, [&](Index i, Index n, Vec u) {
    const Vec x = load(r.x0 + i, n) + (2.0f * u - 1.0f) * eps;
    store(r.x + i, clip(x, load(r.lo + i, n), load(r.hi + i, n)), n);
  });
}

// A Gaussian direction at radius eps * u^(1 / features), or eps.
void start_l2(const Row& r, float eps, bool surface, std::uint64_t seed, std::uint32_t salt, Index id) {
  DVec squares = {};
  for_normals(r.features, seed, salt, id, [&](Index i, Index n, Vec v) {
    store(r.x + i, v, n);
    const DVec d = to_double(first_lanes(v, n));
    squares = squares + d * d;
  });
  const float u = first_uniform(seed, salt | kRadius, id);
  const float radius = surface ? eps : eps * exp(log(u) / static_cast<float>(r.features));
  const double norm = __builtin_sqrt(sum(squares));
  const float scale = norm > 0.0 ? static_cast<float>(radius / norm) : 0.0f;
  for_lanes(r.features, [&](Index i, Index n) {
    store(r.x + i, mul_add(load(r.x + i, n), splat<Vec>(scale), load(r.x0 + i, n)), n);
  });
  project_row(Norm::l2, r, eps);
}

// Exponential variables e_i divided by their sum and one more are uniform in the simplex, without the one more on its
// face; signs make it the L1 ball.
void start_l1(const Row& r, float eps, bool surface, std::uint64_t seed, std::uint32_t salt, Index id) {
  DVec total = {};
  for_philox(r.features, seed, salt, id, [&](Index group, Index offset, UVec(&words)[4]) {
    for (int w = 0; w < 4; ++w) {
      const Index i = group + 16 * w + offset;
      if (i >= r.features) continue;
      const Index n = r.features - i < kLanes ? r.features - i : kLanes;
      const Vec e = first_lanes(-log(unit_above_zero(words[w])), n);
      total = total + to_double(e);
      store(r.x + i, select((words[w] & 1u) != 0u, -e, e), n);  // bit 0 is not among the 24 of the uniform
    }
  });
  const float more = surface ? 0.0f : -log(first_uniform(seed, salt | kRadius, id));
  const double all = sum(total) + static_cast<double>(more);
  const float scale = all > 0.0 ? static_cast<float>(eps / all) : 0.0f;
  for_lanes(r.features, [&](Index i, Index n) {
    store(r.x + i, mul_add(load(r.x + i, n), splat<Vec>(scale), load(r.x0 + i, n)), n);
  });
  project_row(Norm::l1, r, eps);
}

// eps times the signs of a Gaussian, as R+FGSM starts.
void start_signs(Norm norm, const Row& r, float eps, std::uint64_t seed, std::uint32_t salt, Index id) {
  for_uniforms(r.features, seed, salt, id, [&](Index i, Index n, Vec u) {
    const Vec x = load(r.x0 + i, n) + select(u < 0.5f, splat<Vec>(-eps), splat<Vec>(eps));
    store(r.x + i, clip(x, load(r.lo + i, n), load(r.hi + i, n)), n);
  });
  if (norm != Norm::linf) project_row(norm, r, eps);
}

// Uniform in the cube, scaled until it touches the surface.
void start_cube(const Row& r, float eps, std::uint64_t seed, std::uint32_t salt, Index id) {
  Vec tops = {};
  for_uniforms(r.features, seed, salt, id, [&](Index i, Index n, Vec u) {
    store(r.x + i, 2.0f * u - 1.0f, n);
    tops = max(tops, first_lanes(abs(2.0f * u - 1.0f), n));
  });
  const float top = largest(tops), scale = top > 0.0f ? eps / top : 0.0f;
  for_lanes(r.features, [&](Index i, Index n) {
    const Vec x = mul_add(load(r.x + i, n), splat<Vec>(scale), load(r.x0 + i, n));
    store(r.x + i, clip(x, load(r.lo + i, n), load(r.hi + i, n)), n);
  });
}

void start_gaussian(Norm norm, const Row& r, float eps, std::uint64_t seed, std::uint32_t salt, Index id) {
  const float deviation = gaussian_deviation(norm, eps, r.features);
  for_normals(r.features, seed, salt, id, [&](Index i, Index n, Vec v) {
    store(r.x + i, mul_add(v, splat<Vec>(deviation), load(r.x0 + i, n)), n);
  });
  project_row(norm, r, eps);
}

void start_salt_and_pepper(Norm norm, const Row& r, float eps, std::uint64_t seed, std::uint32_t salt, Index id) {
  const float part = first_uniform(seed, salt | kRadius, id);
  for_uniforms(r.features, seed, salt, id, [&](Index i, Index n, Vec u) {
    const Vec x0 = load(r.x0 + i, n), up = min(load(r.hi + i, n), x0 + eps), down = max(load(r.lo + i, n), x0 - eps);
    store(r.x + i, select(u < 0.5f * part, up, select(u < part, down, x0)), n);
  });
  project_row(norm, r, eps);
}

void start_normal(const Row& r, float eps, std::uint64_t seed, std::uint32_t salt, Index id) {
  for_normals(r.features, seed, salt, id, [&](Index i, Index n, Vec v) {
    const Vec x = mul_add(v, splat<Vec>(eps), load(r.x0 + i, n));
    store(r.x + i, clip(x, load(r.lo + i, n), load(r.hi + i, n)), n);
  });
}

// lo + u (hi - lo), where both are finite.
void start_box(const Row& r, std::uint64_t seed, std::uint32_t salt, Index id) {
  for_uniforms(r.features, seed, salt, id, [&](Index i, Index n, Vec u) {
    const Vec lo = load(r.lo + i, n), hi = load(r.hi + i, n);
    store(r.x + i, clip(mul_add(u, hi - lo, lo), lo, hi), n);
  });
}

void start_row(Norm norm, Start kind, const Row& r, float eps, std::uint64_t seed, std::uint32_t salt, Index id) {
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

void start(Stream, const StartRows& a) {
  for (Index row = 0; row < a.ball.rows; ++row)
    start_row(a.ball.norm, a.kind, row_of(a.ball, row), a.ball.eps[row], a.seed, a.restart, a.ids[row]);
}

void noise(Stream, const NoiseRows& a) {
  const std::uint32_t salt = kNoise | ((*a.draw + a.more) & 0xffffffu);
  for (Index row = 0; row < a.rows; ++row) {
    float* out = a.out + row * a.ld;
    if (a.kind == Noise::normal)
      for_normals(a.features, a.seed, salt, a.ids[row], [&](Index i, Index n, Vec v) { store(out + i, v, n); });
    else
      for_uniforms(a.features, a.seed, salt, a.ids[row], [&](Index i, Index n, Vec u) {
        const Vec signs = select(u < 0.5f, splat<Vec>(-1.0f), splat<Vec>(1.0f));
        store(out + i, a.kind == Noise::signs ? signs : 2.0f * u - 1.0f, n);
      });
  }
}

void uniform(Stream, Index count, float lo, float hi, std::uint64_t seed, Index id, float* out) {
  for_uniforms(count, seed, kInitial, id, [&](Index i, Index n, Vec u) { store(out + i, u * (hi - lo) + lo, n); });
}

}  // namespace

void add_random(Kernels& k) {
  k.start = start;
  k.noise = noise;
  k.uniform = uniform;
}

}  // namespace epsball::EPSBALL_ISA
