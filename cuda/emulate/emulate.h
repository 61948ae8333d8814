// The words of CUDA that kernels are written in, for a host compiler; launch.cuh includes it where nvcc is not at work.
//
// A kernel is a plain function, a block's threads are fibers (grid.h), device memory is guarded host memory (memory.h)
// and streams run at once (runtime.h). It says nothing of registers, of what memory accesses coalesce, of alignment, of
// streams that overlap, and of how tensor cores round.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <utility>

#include "grid.h"
#include "runtime.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

// The name of an array whose memory every block has anew: `at` is a key of its own for every place in every instance.
#define EPSBALL_EMULATE_SHARED(T, name, dims)                                                                \
  static const char epsball_key_##name = 0;                                                                  \
  T(&name)                                                                                                   \
  dims = *static_cast<T(*) dims>(::epsball::cuda::emulate::shared_array(&epsball_key_##name, sizeof(T dims), \
                                                                        ::epsball::cuda::CallSite::current()))

namespace epsball::cuda {

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }

template <class T>
T __ldg(const T* at) {
  return *at;
}

namespace emulate {

template <class T>
std::uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}
template <class T>
T of_bits(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

inline unsigned lane() {
  return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % static_cast<unsigned>(kWarp);
}

// The value that `lane` brings to the exchange; one's own for a lane that is none.
template <class T>
T value_of(unsigned from, T value, CallSite at) {
  const std::uint64_t* values = all_lanes(to_bits(value), at);
  return from < static_cast<unsigned>(kWarp) ? of_bits<T>(values[from]) : value;
}

inline std::uint32_t ballot(bool value, CallSite at) {
  const std::uint64_t* values = all_lanes(value, at);
  std::uint32_t bits = 0;
  for (int i = 0; i < kWarp; ++i) bits |= static_cast<std::uint32_t>(values[i]) << i;
  return bits;
}

// Runs kernel(arguments...) for every thread of the grid on the stream. Arguments are kept by value, as CUDA does.
template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream, CallSite at,
            A&&... arguments) {
  struct Call {
    void (*kernel)(P...);
    std::tuple<P...> arguments;
  };
  submit(stream, [grid, block, shared_bytes, at, call = Call{kernel, {static_cast<P>(arguments)...}}] {
    note_launch({at, grid, block});
    const DeviceAccess access;
    const auto one_thread = [](const void* c) {
      const auto* call = static_cast<const Call*>(c);
      std::apply(call->kernel, call->arguments);
    };
    run({grid, block, shared_bytes, at, one_thread, &call});
    access.check_guards("launch at " + to_string(at));
  });
}

}  // namespace emulate
}  // namespace epsball::cuda
