// Random starts of the emulated GPU: the same uniforms as every CPU table to the bit, and from them the same starts.
#include "launch.cuh"

#include "check.h"
#include "cpu.h"
#include "device_array.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr std::uint64_t kSeed = 5 + (std::uint64_t{1} << 40);

void test_uniforms_are_the_same_bits(Index count) {
  DeviceArray<float> out(count);
  const Index id = 1234567890123;
  cuda::table().uniform(nullptr, count, -0.3f, 1.1f, kSeed, id, out.data());
  for (const Kernels* cpu : tables()) {
    std::vector<float> wanted(static_cast<std::size_t>(count));
    cpu->uniform(nullptr, count, -0.3f, 1.1f, kSeed, id, wanted.data());
    CHECK(same_bits(out.host(), wanted));
  }
}

struct Problem {
  Norm norm;
  Start kind;
  Index n, ld;
  std::vector<Index> ids = {7, 0, 3, Index{1} << 40};
  std::vector<float> x0, lo, hi, eps = {0.3f, 1.0f, 0.0f, 1e-3f};

  Problem(Norm which, Start start, Index features, bool box)
      : norm(which),
        kind(start),
        n(features),
        ld(features + 2),
        x0(uniform_floats(4 * ld, 11, 0, 1, 0.1f)),
        lo(x0.size(), box ? 0.0f : -HUGE_VALF),
        hi(x0.size(), box ? 1.0f : HUGE_VALF) {}

  StartRows descriptor(Index rows) const {
    StartRows a;
    a.kind = kind;
    a.seed = kSeed;
    a.restart = 9;
    a.ball.norm = norm;
    a.ball.rows = rows;
    a.ball.features = n;
    a.ball.ld = ld;
    return a;
  }
};

std::vector<float> on_cpu(const Kernels& cpu, const Problem& p) {
  std::vector<float> x(p.x0.size(), 7.0f);
  StartRows a = p.descriptor(4);
  a.ball = {p.norm, 4, p.n, x.data(), p.x0.data(), p.lo.data(), p.hi.data(), p.ld, p.eps.data()};
  a.ids = p.ids.data();
  cpu.start(nullptr, a);
  return x;
}

std::vector<float> on_gpu(const Problem& p, Index first = 0, Index rows = 4, Stream stream = nullptr) {
  const auto some = [&]<class T>(const std::vector<T>& all, Index width) {
    return std::vector<T>(all.begin() + first * width, all.begin() + (first + rows) * width);
  };
  DeviceArray<float> x(std::vector<float>(rows * p.ld, 7.0f)), x0(some(p.x0, p.ld)), lo(some(p.lo, p.ld)),
      hi(some(p.hi, p.ld)), eps(some(p.eps, 1));
  DeviceArray<Index> ids(some(p.ids, 1));
  StartRows a = p.descriptor(rows);
  a.ball = {p.norm, rows, p.n, x.data(), x0.data(), lo.data(), hi.data(), p.ld, eps.data()};
  a.ids = ids.data();
  cuda::table().start(stream, a);
  return x.host();
}

double distance(Norm norm, Index n, const float* x, const float* x0) {
  double total = 0;
  for (Index i = n; i-- > 0;) {
    const double d = std::fabs(static_cast<double>(x[i]) - static_cast<double>(x0[i]));
    total += norm == Norm::l2 ? d * d : d;
  }
  return norm == Norm::l2 ? std::sqrt(total) : total;
}

// The draws are the same bits; their norm is summed in another order, so that a factor, a sum and a projection round
// differently. The scalar table does not fuse, so that the draws' polynomials differ too, by some roundings.
bool near(const Problem& p, const Kernels& cpu, const std::vector<float>& got, const std::vector<float>& wanted) {
  const double roundings = fuses(cpu) ? 4 : 32;
  bool ok = got.size() == wanted.size();
  for (std::size_t i = 0; ok && i < got.size(); ++i)
    ok = std::fabs(static_cast<double>(got[i]) - wanted[i]) <=
         roundings * 0x1p-24 * (std::fabs(p.x0[i]) + p.eps[i / p.ld]);
  return ok;
}

void test_start(const Problem& p) {
  const auto got = on_gpu(p);
  const bool summed = p.kind != Start::signs && p.kind != Start::box && (p.kind != Start::ball || p.norm != Norm::linf);
  for (const Kernels* cpu : tables()) {
    const auto wanted = on_cpu(*cpu, p);
    if (!CHECK(summed ? near(p, *cpu, got, wanted) : same_bits(got, wanted)))
      std::printf("norm %d, features %d, table %s\n", static_cast<int>(p.norm), static_cast<int>(p.n), cpu->name);
  }
  bool inside = true, gaps = true;
  for (Index r = 0; r < 4; ++r) {
    const float *x = &got[r * p.ld], *x0 = &p.x0[r * p.ld];
    const bool ball = summed && p.norm != Norm::linf && p.kind != Start::normal && p.kind != Start::box;
    if (ball) inside &= distance(p.norm, p.n, x, x0) <= static_cast<double>(p.eps[r]);
    for (Index i = 0; i < p.n; ++i) inside &= x[i] >= p.lo[r * p.ld + i] && x[i] <= p.hi[r * p.ld + i];
    gaps &= x[p.n] == 7.0f && x[p.n + 1] == 7.0f;
  }
  CHECK(inside && gaps);
  CHECK(same_bits(on_gpu(p, 1, 1).data(), &got[p.ld], p.ld));
}

void test_noise(Index n, Noise kind) {
  static const std::uint32_t kDraw = 9;
  const Problem p(Norm::l2, Start::ball, n, false);
  DeviceArray<float> out(std::vector<float>(4 * p.ld, 7.0f));
  DeviceArray<Index> ids(p.ids);
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{3});
  DeviceArray<std::uint32_t> draw(std::vector<std::uint32_t>{kDraw});
  cuda::DeviceStream stream{nullptr, active.data()};
  cuda::table().noise(&stream, {kind, 4, n, ids.data(), kSeed, draw.data(), out.data(), p.ld, 5});
  for (const Kernels* cpu : tables()) {
    std::vector<float> wanted(static_cast<std::size_t>(4 * p.ld), 7.0f);
    cpu->noise(nullptr, {kind, 3, n, p.ids.data(), kSeed, &kDraw, wanted.data(), p.ld, 5});
    const bool exact = kind != Noise::normal || fuses(*cpu);
    CHECK(exact ? same_bits(out.host(), wanted) : all_near(out.host(), wanted, 32 * 0x1p-24));
  }
}

void test_rows_that_have_left_are_left_alone(Norm norm) {
  const Problem p(norm, Start::ball, 17, true);
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{2});
  cuda::DeviceStream stream{nullptr, active.data()};
  const auto some = on_gpu(p, 0, 4, &stream), all = on_gpu(p);
  CHECK(same_bits(some.data(), all.data(), 2 * p.ld));
  CHECK(std::vector<float>(some.begin() + 2 * p.ld, some.end()) == std::vector<float>(2 * p.ld, 7.0f));
}

}  // namespace

int main() {
  for (const Index n : kSizes) {
    test_uniforms_are_the_same_bits(n);
    for (const Noise kind : {Noise::normal, Noise::signs, Noise::uniform}) test_noise(n, kind);
    for (const bool box : {false, true}) {
      for (const Norm norm : {Norm::linf, Norm::l2, Norm::l1, Norm::l0}) test_start(Problem(norm, Start::ball, n, box));
      test_start(Problem(Norm::linf, Start::signs, n, box));
      for (const Norm norm : {Norm::linf, Norm::l2, Norm::l1})
        for (const Start kind : {Start::sphere, Start::gaussian, Start::salt_and_pepper})
          test_start(Problem(norm, kind, n, box));
      test_start(Problem(Norm::l2, Start::normal, n, box));
      if (box) test_start(Problem(Norm::l2, Start::box, n, box));
    }
  }
  test_uniforms_are_the_same_bits(1000);
  for (const Norm norm : {Norm::linf, Norm::l2, Norm::l1}) {
    test_start(Problem(norm, Start::ball, 600, true));  // more Philox blocks than a block's threads
    test_rows_that_have_left_are_left_alone(norm);
  }
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
