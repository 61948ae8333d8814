// The same call on the emulated GPU and on a CPU, from the same numbers, with rows that have left.
#pragma once

#include <algorithm>
#include <vector>

#include "cpu.h"
#include "device_array.h"
#include "table.cuh"

namespace epsball::test {

inline constexpr Index kRows = 5, kActive = 4;

inline std::vector<float> floats(Index count, unsigned seed, float lo = -1.0f, float hi = 1.0f) {
  return uniform_floats(count, seed, lo, hi, 0.1f);
}

// A value of the GPU and its twin of the CPU, from the same numbers.
template <class T>
struct Twin {
  std::vector<T> cpu;
  DeviceArray<T> gpu;

  explicit Twin(const std::vector<T>& values) : cpu(values), gpu(values) {}
  T* on(bool device) { return device ? gpu.data() : cpu.data(); }
  bool same() const {
    const auto got = gpu.host();
    return std::equal(got.begin(), got.end(), cpu.begin(), [](T a, T b) { return a == b; });
  }
};

// Calls run(on the device or not, table, stream, rows) for both; only the first kActive rows take part.
template <class Run>
void on_both(Run run) {
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{kActive});
  cuda::DeviceStream stream{nullptr, active.data()};
  run(true, cuda::table(), static_cast<Stream>(&stream), kRows);
  run(false, *tables().front(), static_cast<Stream>(nullptr), kActive);
}

inline std::vector<std::int32_t> classes_of_rows(Index classes, int shift) {
  std::vector<std::int32_t> out;
  for (Index r = 0; r < kRows; ++r) out.push_back(static_cast<std::int32_t>((3 * r + shift) % classes));
  return out;
}

}  // namespace epsball::test
