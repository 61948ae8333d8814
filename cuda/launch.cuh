// The only file that knows how a kernel is launched and how threads meet: nvcc's way, or the emulator's under g++.
//
// Every .cu file includes it first. What kernels may not use, as the emulator has it not: <<<>>>, __shared__,
// cooperative groups, PTX, and leaving a kernel before a barrier that others wait in. Blocks that use a warp's or a
// block's functions have whole warps, and every thread calls them.
#pragma once

#define EPSBALL_ISA cuda       // formulas.h and philox.h belong to this table
#define EPSBALL_LANE_IS_FLOAT  // and treat one float at a time

#ifdef __CUDACC__
#include <cuda_runtime.h>  // NVIDIA's headers come first
#endif

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

#include "array.h"
#include "error.h"

#ifndef __CUDACC__
#include "emulate/emulate.h"
#endif

namespace epsball::cuda {

inline constexpr int kWarpSize = 32;

// A slab on a GPU is a whole batch on a stream; epsball's Stream points to one of these.
struct DeviceStream {
  cudaStream_t stream = nullptr;
  std::int32_t* active = nullptr;  // on the device: rows still in the slab; null: all that a descriptor says
};

inline DeviceStream device_stream(Stream s) { return s ? *static_cast<const DeviceStream*>(s) : DeviceStream{}; }

template <class T>
__host__ __device__ constexpr T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

// Rows that solved rows left behind: they leave without the host being told.
__device__ __forceinline__ Index rows_now(Index rows, const std::int32_t* active) {
  return active && *active < rows ? *active : rows;
}

// ---- shared memory ----

#ifdef __CUDACC__
// SHARED_ARRAY(float, tile, [16][17]); 32 bytes aligned, so that it can hold a fragment's tile.
#define SHARED_ARRAY(T, name, dims) __shared__ __align__(32) T name dims
// T* name: the bytes that the launch asked for.
#define DYN_SHARED(T, name)                                                \
  extern __shared__ __align__(128) unsigned char epsball_dynamic_shared[]; \
  T* name = reinterpret_cast<T*>(epsball_dynamic_shared)
#else
#define SHARED_ARRAY(T, name, dims) EPSBALL_EMULATE_SHARED(T, name, dims)
#define DYN_SHARED(T, name) T* name = static_cast<T*>(::epsball::cuda::emulate::dynamic_shared())
#endif

// ---- how threads meet ----

#ifdef __CUDACC__

// The emulator says where a barrier stands in the kernel; the device does not.
struct CallSite {
  static constexpr __host__ __device__ CallSite current() { return {}; }
};

inline constexpr unsigned kWholeWarp = 0xffffffffu;

__device__ __forceinline__ void barrier(CallSite = CallSite::current()) { __syncthreads(); }
// Orders the memory of a warp's lanes; the exchanges below do not.
__device__ __forceinline__ void warp_barrier(CallSite = CallSite::current()) { __syncwarp(kWholeWarp); }

template <class T>
__device__ __forceinline__ T shuffle(T value, unsigned lane, CallSite = CallSite::current()) {
  return __shfl_sync(kWholeWarp, value, static_cast<int>(lane));
}
// Lane i gets the value of lane i + delta; its own where there is none.
template <class T>
__device__ __forceinline__ T shuffle_down(T value, unsigned delta, CallSite = CallSite::current()) {
  return __shfl_down_sync(kWholeWarp, value, delta);
}
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, unsigned mask, CallSite = CallSite::current()) {
  return __shfl_xor_sync(kWholeWarp, value, static_cast<int>(mask));
}
// Bit i is what lane i says.
__device__ __forceinline__ std::uint32_t ballot(bool value, CallSite = CallSite::current()) {
  return __ballot_sync(kWholeWarp, value);
}

#else

inline void barrier(CallSite at = CallSite::current()) { emulate::block_barrier(at); }
inline void warp_barrier(CallSite at = CallSite::current()) { emulate::warp_barrier(at); }

template <class T>
T shuffle(T value, unsigned lane, CallSite at = CallSite::current()) {
  return emulate::value_of(lane % kWarpSize, value, at);
}
template <class T>
T shuffle_down(T value, unsigned delta, CallSite at = CallSite::current()) {
  return emulate::value_of(emulate::lane() + delta, value, at);
}
template <class T>
T shuffle_xor(T value, unsigned mask, CallSite at = CallSite::current()) {
  return emulate::value_of(emulate::lane() ^ mask, value, at);
}
inline std::uint32_t ballot(bool value, CallSite at = CallSite::current()) { return emulate::ballot(value, at); }

#endif

// Whether any lane of the warp says so; the same in every lane.
__device__ __forceinline__ bool any(bool value, CallSite at = CallSite::current()) { return ballot(value, at) != 0; }

// This thread's number in its block, x first.
__device__ __forceinline__ unsigned thread_number() {
  return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
}
__device__ __forceinline__ unsigned threads_of_block() { return blockDim.x * blockDim.y * blockDim.z; }

// ---- reductions in one fixed order, the same bits in every thread ----

namespace detail {

struct Sum {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};

// NaN wins, so that none is hidden.
struct Max {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};

template <class T, class Op>
__device__ __forceinline__ T warp_reduce(T value, Op op, CallSite at) {
  for (unsigned mask = kWarpSize / 2; mask > 0; mask /= 2) value = op(value, shuffle_xor(value, mask, at));
  return value;
}

// Warps first, then their results in order.
template <class T, class Op>
__device__ __forceinline__ T block_reduce(T value, Op op, CallSite at) {
  SHARED_ARRAY(T, parts, [kWarpSize]);
  const unsigned number = thread_number(), warps = threads_of_block() / kWarpSize;
  const T part = warp_reduce(value, op, at);
  if (number % kWarpSize == 0) parts[number / kWarpSize] = part;
  barrier(at);
  T result = parts[0];
  for (unsigned w = 1; w < warps; ++w) result = op(result, parts[w]);
  barrier(at);  // the next reduction writes there
  return result;
}

}  // namespace detail

template <class T>
__device__ __forceinline__ T warp_sum(T value, CallSite at = CallSite::current()) {
  return detail::warp_reduce(value, detail::Sum{}, at);
}
template <class T>
__device__ __forceinline__ T warp_max(T value, CallSite at = CallSite::current()) {
  return detail::warp_reduce(value, detail::Max{}, at);
}
template <class T>
__device__ __forceinline__ T block_sum(T value, CallSite at = CallSite::current()) {
  return detail::block_reduce(value, detail::Sum{}, at);
}
template <class T>
__device__ __forceinline__ T block_max(T value, CallSite at = CallSite::current()) {
  return detail::block_reduce(value, detail::Max{}, at);
}

// ---- atomics: on integers only, whose result does not depend on who comes first ----

#ifdef __CUDACC__
template <class T>
__device__ __forceinline__ T atomic_add(T* at, T value) {
  return atomicAdd(at, value);
}
template <class T>
__device__ __forceinline__ T atomic_or(T* at, T value) {
  return atomicOr(at, value);
}
template <class T>
__device__ __forceinline__ T atomic_max(T* at, T value) {
  return atomicMax(at, value);
}
#else
template <class T>
T atomic_add(T* at, T value) {
  static_assert(std::is_integral_v<T>, "a float's sum would depend on the order");
  return __atomic_fetch_add(at, value, __ATOMIC_RELAXED);
}
template <class T>
T atomic_or(T* at, T value) {
  static_assert(std::is_integral_v<T>);
  return __atomic_fetch_or(at, value, __ATOMIC_RELAXED);
}
template <class T>
T atomic_max(T* at, T value) {
  static_assert(std::is_integral_v<T>);
  T old = __atomic_load_n(at, __ATOMIC_RELAXED);
  while (old < value && !__atomic_compare_exchange_n(at, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}
#endif

// ---- the host's side: every failure is a CudaError that names the call ----

inline void check(cudaError_t error, const char* call) {
  if (error != cudaSuccess) throw CudaError(std::string(call) + ": " + cudaGetErrorString(error));
}

// Work is the first device's, whichever is the calling thread's own, as it is again afterwards.
class OnDevice {
 public:
  OnDevice() {
    check(cudaGetDevice(&before_), "cudaGetDevice");
    if (before_ != kDevice) check(cudaSetDevice(kDevice), "cudaSetDevice");
  }
  ~OnDevice() {
    if (before_ != kDevice) static_cast<void>(cudaSetDevice(before_));
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  static constexpr int kDevice = 0;
  int before_ = kDevice;
};

// The stream of a launch, and where the launch stands.
struct On {
  cudaStream_t stream;
  std::source_location at;

  On(cudaStream_t s, std::source_location where = std::source_location::current()) : stream(s), at(where) {}
  On(const DeviceStream& s, std::source_location where = std::source_location::current()) : On(s.stream, where) {}
};

// Runs kernel(arguments...) on grid x block threads; nothing where the grid is empty.
template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, On on, A&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  const OnDevice here;
#ifdef __CUDACC__
  constexpr std::size_t kWithoutAsking = 48 * 1024;
  const std::string call = std::string("launch at ") + on.at.file_name() + ":" + std::to_string(on.at.line());
  if (shared_bytes > kWithoutAsking)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
          call.c_str());
  kernel<<<grid, block, shared_bytes, on.stream>>>(static_cast<A&&>(arguments)...);
  check(cudaGetLastError(), call.c_str());
#else
  emulate::launch(kernel, grid, block, shared_bytes, on.stream, on.at, static_cast<A&&>(arguments)...);
#endif
}

inline void* malloc_async(std::size_t bytes, cudaStream_t stream) {
  const OnDevice here;
  void* data = nullptr;
  check(cudaMallocAsync(&data, bytes, stream), "cudaMallocAsync");
  return data;
}
inline void free_async(void* data, cudaStream_t stream) {
  const OnDevice here;
  check(cudaFreeAsync(data, stream), "cudaFreeAsync");
}

// Host or device to host or device; the emulator holds a caller that says which to it.
inline void memcpy_async(void* to, const void* from, std::size_t bytes, cudaStream_t stream,
                         cudaMemcpyKind kind = cudaMemcpyDefault) {
  const OnDevice here;
  check(cudaMemcpyAsync(to, from, bytes, kind, stream), "cudaMemcpyAsync");
}
inline void memset_async(void* to, int byte, std::size_t bytes, cudaStream_t stream) {
  const OnDevice here;
  check(cudaMemsetAsync(to, byte, bytes, stream), "cudaMemsetAsync");
}

inline cudaStream_t create_stream() {
  const OnDevice here;
  cudaStream_t stream = nullptr;
  check(cudaStreamCreate(&stream), "cudaStreamCreate");
  return stream;
}
// The default stream and this one do not wait for each other, which a capture needs.
inline cudaStream_t create_stream_apart() {
  const OnDevice here;
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return stream;
}
inline void destroy_stream(cudaStream_t stream) { check(cudaStreamDestroy(stream), "cudaStreamDestroy"); }
inline void synchronize(cudaStream_t stream) {
  const OnDevice here;
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

// A moment on a stream.
class Event {
 public:
  Event() {
    const OnDevice here;
    check(cudaEventCreate(&event_), "cudaEventCreate");
  }
  ~Event() { static_cast<void>(cudaEventDestroy(event_)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(cudaStream_t stream) { check(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  void synchronize() const { check(cudaEventSynchronize(event_), "cudaEventSynchronize"); }
  float milliseconds_since(const Event& from) const {
    float milliseconds = 0.0f;
    check(cudaEventElapsedTime(&milliseconds, from.event_, event_), "cudaEventElapsedTime");
    return milliseconds;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

// What `work` does on a stream, recorded once to be launched again and again.
class Graph {
 public:
  template <class Work>
  Graph(cudaStream_t stream, Work&& work) {
    const OnDevice here;
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    cudaGraph_t graph = nullptr;
    try {
      work();
    } catch (...) {
      if (cudaStreamEndCapture(stream, &graph) == cudaSuccess && graph) static_cast<void>(cudaGraphDestroy(graph));
      throw;
    }
    check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
    const cudaError_t error = cudaGraphInstantiate(&executable_, graph, 0);
    static_cast<void>(cudaGraphDestroy(graph));
    check(error, "cudaGraphInstantiate");
  }
  ~Graph() { static_cast<void>(cudaGraphExecDestroy(executable_)); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch(cudaStream_t stream) const {
    const OnDevice here;
    check(cudaGraphLaunch(executable_, stream), "cudaGraphLaunch");
  }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace epsball::cuda

#include "wmma.cuh"
