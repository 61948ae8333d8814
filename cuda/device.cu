// The device's memory and streams, as the table hands them to the engine.
#include "launch.cuh"

#include <memory>
#include <string>

#include "table.cuh"

namespace epsball::cuda {
namespace {

constexpr std::int32_t kAllRows = 0x7fffffff;

__global__ void activate_kernel(std::int32_t* active, std::int32_t rows) { *active = rows; }

void activate(Stream stream, Index rows) {
  const DeviceStream s = device_stream(stream);
  launch(activate_kernel, 1, 1, 0, s, s.active, static_cast<std::int32_t>(rows < kAllRows ? rows : kAllRows));
}

void* allocate(Index bytes) {
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, static_cast<std::size_t>(bytes));
  if (error == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());  // the next call is not to find it
    return nullptr;
  }
  check(error, "cudaMalloc");
  return data;
}

void release(void* data) { static_cast<void>(cudaFree(data)); }

bool holds(const void* data) {
  cudaPointerAttributes a;
  check(cudaPointerGetAttributes(&a, data), "cudaPointerGetAttributes");
  return a.type == cudaMemoryTypeDevice || a.type == cudaMemoryTypeManaged;
}

Stream open() {
  auto stream = std::make_unique<DeviceStream>();
  stream->active = static_cast<std::int32_t*>(allocate(sizeof(std::int32_t)));
  if (!stream->active) throw CudaError("cudaMalloc: out of memory");
  activate(stream.get(), kAllRows);
  return stream.release();
}

void close(Stream stream) {
  const std::unique_ptr<DeviceStream> owner(static_cast<DeviceStream*>(stream));
  release(owner->active);
}

void finish(Stream stream) { synchronize(device_stream(stream).stream); }

constexpr Device kDevice{allocate, release, holds, open, close, finish, activate};

}  // namespace

void add_device(Kernels& k) { k.device = &kDevice; }

std::string device_problem() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return {};
  static_cast<void>(cudaGetLastError());
  if (error == cudaErrorInsufficientDriver) return "the NVIDIA driver is older than the CUDA toolkit of this build";
  if (error == cudaSuccess || error == cudaErrorNoDevice) return "no CUDA device is visible";
  return std::string("cudaGetDeviceCount: ") + cudaGetErrorString(error);
}

}  // namespace epsball::cuda
