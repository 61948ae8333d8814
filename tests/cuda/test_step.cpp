// Boxes and steps of the emulated GPU: the CPU's bits where no order of summation enters, and near them elsewhere.
#include "launch.cuh"

#include <algorithm>

#include "check.h"
#include "cpu.h"
#include "device_array.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr Index kRows = 4;
constexpr Norm kNorms[] = {Norm::linf, Norm::l2, Norm::l1};

// ---- limits ----

void test_limits(Index n, bool ball, bool mask, bool one_mask, Stream stream, Index done) {
  const Index ld = n + 2;
  const std::vector<float> x0 = uniform_floats(kRows * ld, 1, -0.2f, 1.2f, 0.1f), eps = {0.0f, 0.3f, 1e-6f, 2.0f};
  const std::vector<float> box_lo = uniform_floats(n, 2, -0.1f, 0.2f, 0.1f), box_hi = uniform_floats(n, 3, 0.8f, 1.0f);
  std::vector<std::uint8_t> free;
  for (Index i = 0; i < kRows * (n + 1); ++i) free.push_back(i % 3 != 1);
  Limits a;
  a.rows = kRows;
  a.features = n;
  a.ld = ld;
  a.mask_ld = one_mask ? 0 : n + 1;
  std::vector<float> lo(x0.size(), 7.0f), hi = lo;
  Limits c = a;
  c.x0 = x0.data();
  c.eps = ball ? eps.data() : nullptr;
  c.box_lo = box_lo.data();
  c.box_hi = box_hi.data();
  c.mask = mask ? free.data() : nullptr;
  DeviceArray<float> gpu_x0(x0), gpu_eps(eps), gpu_box_lo(box_lo), gpu_box_hi(box_hi), gpu_lo(lo), gpu_hi(hi);
  DeviceArray<std::uint8_t> gpu_free(free);
  a.x0 = gpu_x0.data();
  a.eps = ball ? gpu_eps.data() : nullptr;
  a.box_lo = gpu_box_lo.data();
  a.box_hi = gpu_box_hi.data();
  a.mask = mask ? gpu_free.data() : nullptr;
  a.lo = gpu_lo.data();
  a.hi = gpu_hi.data();
  cuda::table().limits(stream, a);
  for (const Kernels* cpu : tables()) {
    auto cpu_lo = lo, cpu_hi = hi;
    c.rows = done;
    c.lo = cpu_lo.data();
    c.hi = cpu_hi.data();
    cpu->limits(nullptr, c);
    CHECK(same_bits(gpu_lo.host(), cpu_lo) && same_bits(gpu_hi.host(), cpu_hi));
  }
}

// ---- step ----

struct Problem {
  Norm norm;
  Index n, ld;
  std::vector<float> x, x0, lo, hi, eps = {0.14f, 0.14f, 0.3f, 0.05f}, size = {0.2f, 0.2f, 0.1f, 5.0f}, gradient;

  std::vector<float> top;  // L1: null where empty

  // Row 0 has no gradient, row 1 a denormal one.
  Problem(Norm which, Index features, bool box)
      : norm(which),
        n(features),
        ld(features + 2),
        x0(uniform_floats(kRows * ld, 11, 0, 1, 0.1f)),
        lo(x0.size(), box ? 0.0f : -HUGE_VALF),
        hi(x0.size(), box ? 1.0f : HUGE_VALF),
        gradient(uniform_floats(kRows * ld, 12, -1, 1, 0.2f)) {
    x = x0;
    const auto noise = uniform_floats(kRows * ld, 13, -0.02f, 0.02f);
    for (Index at = 0; at < kRows * ld; ++at) {
      if (at >= ld) x[at] = std::clamp(x0[at] + noise[at], lo[at], hi[at]);
      if (box && at % ld % 5 == 4) lo[at] = hi[at] = x[at] = x0[at];  // a masked feature
      if (norm == Norm::linf) {                                       // the box holds the ball
        lo[at] = std::max(lo[at], x0[at] - eps[at / ld]);
        hi[at] = std::min(hi[at], x0[at] + eps[at / ld]);
      }
    }
    for (Index i = 0; i < n; ++i) gradient[i] = 0.0f, gradient[ld + i] *= 1e-42f;
    gradient[ld] = 1e-40f;
    gradient[2 * ld] = 0.9f;
    gradient[3 * ld] = -0.3f;
  }
};

struct Result {
  std::vector<float> x;
  std::vector<std::uint8_t> moving;
};

Result on_cpu(const Kernels& cpu, const Problem& p) {
  Result out{p.x, std::vector<std::uint8_t>(kRows, 0)};
  const BallRows ball{p.norm, kRows, p.n, out.x.data(), p.x0.data(), p.lo.data(), p.hi.data(), p.ld, p.eps.data()};
  cpu.step(nullptr,
           {ball, p.gradient.data(), p.ld, p.size.data(), out.moving.data(), p.top.empty() ? nullptr : p.top.data()});
  return out;
}

Result on_gpu(const Problem& p, Index first = 0, Index rows = kRows, Stream stream = nullptr, bool tell = true) {
  const auto some = [&](const std::vector<float>& all, Index width) {
    return std::vector<float>(all.begin() + first * width, all.begin() + (first + rows) * width);
  };
  DeviceArray<float> x(some(p.x, p.ld)), x0(some(p.x0, p.ld)), lo(some(p.lo, p.ld)), hi(some(p.hi, p.ld)),
      gradient(some(p.gradient, p.ld)), eps(some(p.eps, 1)), size(some(p.size, 1)),
      top(p.top.empty() ? std::vector<float>{0.0f} : some(p.top, 1));
  DeviceArray<std::uint8_t> moving(std::vector<std::uint8_t>(rows, 0));
  const BallRows ball{p.norm, rows, p.n, x.data(), x0.data(), lo.data(), hi.data(), p.ld, eps.data()};
  cuda::table().step(stream, {ball, gradient.data(), p.ld, size.data(), tell ? moving.data() : nullptr,
                              p.top.empty() ? nullptr : top.data()});
  return {x.host(), moving.host()};
}

// The step is a float in each of two factors, moves x by a rounding, and the projection, which brings no two points
// further apart, by another one.
bool near(const Problem& p, const std::vector<float>& got, const std::vector<float>& wanted) {
  bool ok = got.size() == wanted.size();
  for (std::size_t i = 0; i < got.size(); ++i) {
    const float size = p.size[i / p.ld];
    ok &= std::fabs(static_cast<double>(got[i]) - wanted[i]) <= 0x1p-22 * (std::fabs(p.x0[i]) + size);
  }
  return ok;
}

double distance(Norm norm, Index n, const float* x, const float* x0) {
  double total = 0;
  for (Index i = n; i-- > 0;) {
    const double d = std::fabs(static_cast<double>(x[i]) - static_cast<double>(x0[i]));
    total += norm == Norm::l2 ? d * d : d;
  }
  return norm == Norm::l2 ? std::sqrt(total) : total;
}

void test_step(Norm norm, Index n, bool box, bool shared = false) {
  Problem p(norm, n, box);
  if (shared) p.top = {2.0f, 1.0f, 4.0f, 100.0f};
  const Result got = on_gpu(p);
  CHECK(got.moving == std::vector<std::uint8_t>{0, 1, 1, 1});
  CHECK(same_bits(got.x.data(), p.x.data(), p.ld));  // no direction to go
  for (const Kernels* cpu : tables()) {
    const Result wanted = on_cpu(*cpu, p);
    CHECK(wanted.moving == got.moving);
    if (norm == Norm::linf)
      CHECK(same_bits(got.x, wanted.x));
    else if (!CHECK(near(p, got.x, wanted.x)))
      std::printf("norm %d, features %d, box %d, table %s\n", static_cast<int>(norm), static_cast<int>(n), box,
                  cpu->name);
  }
  bool inside = true;
  for (Index r = 0; r < kRows; ++r) {
    for (Index at = r * p.ld; at < r * p.ld + n; ++at) inside &= got.x[at] >= p.lo[at] && got.x[at] <= p.hi[at];
    if (norm != Norm::linf && r > 0)
      inside &= distance(norm, n, &got.x[r * p.ld], &p.x0[r * p.ld]) <= static_cast<double>(p.eps[r]);
  }
  CHECK(inside);
  CHECK(same_bits(on_gpu(p, 2, 1).x.data(), &got.x[2 * p.ld], p.ld));
  CHECK(same_bits(on_gpu(p, 0, kRows, nullptr, false).x, got.x));
}

// Equal gradients are spent on in order: the room of the first ones, then what is left.
void test_ties_of_l1_are_spent_in_order() {
  const Index n = 300;  // more than a block's threads
  Problem p(Norm::l1, n, false);
  for (Index at = 0; at < kRows * p.ld; ++at) {
    const Index i = at % p.ld;
    p.x[at] = p.x0[at] = 0.5f;
    p.lo[at] = 0.25f;
    p.hi[at] = 0.75f;
    p.gradient[at] = i == 299 ? 2.0f : i % 3 == 0 ? 0.125f : i % 3 == 1 ? 1.0f : -1.0f;
  }
  p.eps = p.size = {0.125f, 0.25f, 1.0f + 0.0625f, 30.0f};
  const Result got = on_gpu(p);
  bool ok = true;
  for (Index r = 0; r < kRows; ++r) {
    float left = p.size[r];
    std::vector<float> moved(n, 0.0f);
    moved[299] = std::min(left, 0.25f);
    left -= moved[299];
    for (Index i = 0; i < 299; ++i)
      if (i % 3 != 0) moved[i] = std::min(left, 0.25f), left -= moved[i];
    double total = 0.0;
    for (Index i = 0; i < n; ++i) {
      const float d = got.x[r * p.ld + i] - 0.5f;
      total += std::fabs(d);
      ok &= std::fabs(std::fabs(d) - moved[i]) <= 0x1p-22 && (i % 3 == 2 && i != 299 ? d <= 0.0f : d >= 0.0f);
    }
    ok &= total <= p.eps[r];
  }
  CHECK(ok);
}

void test_rows_that_have_left_are_left_alone(Norm norm) {
  const Problem p(norm, 17, true);
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{2});
  cuda::DeviceStream stream{nullptr, active.data()};
  const Result some = on_gpu(p, 0, kRows, &stream), all = on_gpu(p);
  CHECK(same_bits(some.x.data(), all.x.data(), 2 * p.ld));
  CHECK(same_bits(&some.x[2 * p.ld], &p.x[2 * p.ld], 2 * p.ld));
  CHECK(some.moving == std::vector<std::uint8_t>{0, 1, 0, 0});
}

}  // namespace

int main() {
  for (const Index n : kSizes) {
    for (const bool ball : {false, true})
      for (const int mask : {0, 1, 2}) test_limits(n, ball, mask > 0, mask == 1, nullptr, kRows);
    for (const Norm norm : kNorms)
      for (const bool box : {false, true}) test_step(norm, n, box);
    for (const bool box : {false, true}) test_step(Norm::l1, n, box, true);
  }
  for (const Norm norm : kNorms) {
    test_step(norm, 500, true);  // more than a block's threads
    test_rows_that_have_left_are_left_alone(norm);
  }
  test_ties_of_l1_are_spent_in_order();
  {
    DeviceArray<std::int32_t> active(std::vector<std::int32_t>{2});
    cuda::DeviceStream stream{nullptr, active.data()};
    test_limits(17, true, true, true, &stream, 2);
  }
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
