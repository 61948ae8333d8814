// Runs the blocks of a kernel one after another, with one fiber per CUDA thread that has to wait: barriers, what lanes
// of a warp exchange, and shared memory. Everything found wrong is an EmulationError that the launch throws.
//
// A thread runs until it waits; the next one then starts or goes on. A kernel that never waits is a plain loop on one
// fiber. Under ThreadSanitizer every thread of a block is a fiber of its own, and the only orders that it is told of
// are those that CUDA promises: the launch, __syncthreads for a block and __syncwarp for a warp; not the shuffles.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>

#include "../error.h"

namespace epsball::cuda {

struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

// Where in a kernel a barrier or an exchange is called.
using CallSite = std::source_location;

#define EPSBALL_THREAD_LOCAL extern __thread __attribute__((tls_model("initial-exec")))
EPSBALL_THREAD_LOCAL uint3 threadIdx;
EPSBALL_THREAD_LOCAL uint3 blockIdx;
EPSBALL_THREAD_LOCAL uint3 blockDim;
EPSBALL_THREAD_LOCAL uint3 gridDim;
#undef EPSBALL_THREAD_LOCAL

namespace emulate {

// A bug in a kernel or in its caller, found by the emulator.
class EmulationError : public CudaError {
 public:
  using CudaError::CudaError;
};

inline constexpr int kWarp = 32;
inline constexpr int kMaxThreads = 1024;
inline constexpr std::size_t kMaxShared = 163 * 1024;  // of a block on sm_80; sm_90 has more

struct Grid {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
  CallSite at;
  void (*kernel)(const void* arguments) = nullptr;  // one thread's run
  const void* arguments = nullptr;
};
void run(const Grid&);

// The rest is called by the threads of a kernel.
void block_barrier(CallSite);
void warp_barrier(CallSite);
// Each lane of the warp brings a value and gets all 32; they stay valid until the lane's next but one exchange.
const std::uint64_t* all_lanes(std::uint64_t value, CallSite);
// A block's shared array: the same memory for every thread that asks with this key, 0xFF at first.
void* shared_array(const void* key, std::size_t bytes, CallSite);
void* dynamic_shared();
// Ends the launch with an EmulationError.
[[noreturn]] void fail(const char* what, CallSite);

std::string to_string(CallSite);

}  // namespace emulate
}  // namespace epsball::cuda
