// Activations and dropout of the emulated GPU: the bits of the CPU's tables that fuse, near those of the scalar one,
// for every kind and odd sizes, with rows that are done left alone.
#include "launch.cuh"

#include "check.h"
#include "device_array.h"
#include "dispatch.h"
#include "guarded.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr ActivationSpec kSpecs[] = {
    {Activation::identity, 0.0f},  {Activation::relu, 0.0f}, {Activation::leaky_relu, 0.1f}, {Activation::elu, 0.7f},
    {Activation::sigmoid, 0.0f},   {Activation::tanh, 0.0f}, {Activation::softplus, 0.0f},   {Activation::gelu, 0.0f},
    {Activation::quadratic, 0.0f}, {Activation::exp, 0.0f},  {Activation::power, 3.0f},
};
constexpr Index kRows = 5;

// The CPU's tables: the scalar one of a baseline x86-64 rounds a product before it adds, all others fuse as a GPU does.
bool same_as(const Kernels& table, const std::vector<float>& got, const std::vector<float>& wanted) {
#ifdef __x86_64__
  const bool fuses = table.lanes > 1;
#else
  const bool fuses = true;
#endif
  bool ok = got.size() == wanted.size();
  for (std::size_t i = 0; ok && i < got.size(); ++i)
    ok = fuses ? same_bits(&got[i], &wanted[i], 1)
               : std::fabs(got[i] - wanted[i]) <= 4e-7 * std::fmax(1.0f, std::fabs(wanted[i]));
  return ok;
}

void test_activation(const Kernels& cpu, ActivationSpec spec, Index n) {
  const Kernels& gpu = cuda::table();
  const Index ld = n + 3;  // what lies between rows stays as it is
  const auto x = uniform_floats(kRows * ld, static_cast<unsigned>(n), -4.0f, 4.0f, 0.1f);
  const auto dy = uniform_floats(kRows * ld, static_cast<unsigned>(n) + 1, -1.0f, 1.0f);
  auto y_cpu = dy, d_cpu = dy;
  DeviceArray<float> x_gpu(x), y_gpu(dy), d_gpu(dy);
  cpu.activation_forward(nullptr, spec, kRows, n, x.data(), ld, y_cpu.data(), ld);
  gpu.activation_forward(nullptr, spec, kRows, n, x_gpu.data(), ld, y_gpu.data(), ld);
  CHECK(same_as(cpu, y_gpu.host(), y_cpu));
  const auto& saved = derivative_needs_input(spec.kind) ? x : y_cpu;
  DeviceArray<float> saved_gpu(saved);
  cpu.activation_backward(nullptr, spec, kRows, n, saved.data(), ld, d_cpu.data(), ld);
  gpu.activation_backward(nullptr, spec, kRows, n, saved_gpu.data(), ld, d_gpu.data(), ld);
  CHECK(same_as(cpu, d_gpu.host(), d_cpu));
}

// Dropout is the same bits on every table.
void test_dropout(const Kernels& cpu, Index n) {
  const Index ld = n + 1;
  const std::vector<Index> ids = {7, 0, 3, Index{1} << 40, 12};
  auto x = uniform_floats(kRows * ld, static_cast<unsigned>(n), -4.0f, 4.0f);
  DeviceArray<float> x_gpu(x);
  DeviceArray<Index> ids_gpu(ids);
  cpu.dropout(nullptr, 0.3f, kRows, n, x.data(), ld, ids.data(), 42, 5);
  cuda::table().dropout(nullptr, 0.3f, kRows, n, x_gpu.data(), ld, ids_gpu.data(), 42, 5);
  CHECK(same_bits(x_gpu.host(), x));
}

void test_rows_that_are_done_are_left_alone() {
  const std::vector<float> ones(8 * 20, 1.0f);
  DeviceArray<float> x(ones), y(ones);
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{3});
  cuda::DeviceStream stream{nullptr, active.data()};
  cuda::table().activation_forward(&stream, {Activation::power, 2.0f}, 8, 20, x.data(), 20, y.data(), 20);
  cuda::table().activation_forward(&stream, {Activation::exp, 0.0f}, 8, 20, x.data(), 20, y.data(), 20);
  const auto values = y.host();
  bool ok = true;
  for (int i = 0; i < 8 * 20; ++i) ok &= (values[i] == 1.0f) == (i >= 3 * 20);
  CHECK(ok);
}

void test_many_rows() {
  const Index rows = 65535 * 8 + 9;  // more than blocks in y
  DeviceArray<float> x(std::vector<float>(static_cast<std::size_t>(rows), 2.0f));
  cuda::table().activation_forward(nullptr, {Activation::quadratic, 0.0f}, rows, 1, x.data(), 1, x.data(), 1);
  CHECK(x.host() == std::vector<float>(static_cast<std::size_t>(rows), 4.0f));
}

}  // namespace

int main() {
  for (const Kernels* cpu : tables())
    for (const Index n : kSizes) {
      for (const ActivationSpec spec : kSpecs) test_activation(*cpu, spec, n);
      test_dropout(*cpu, n);
    }
  test_rows_that_are_done_are_left_alone();
  test_many_rows();
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
