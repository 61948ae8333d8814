// The device's memory and streams, as the table hands them to the engine.
#include "launch.cuh"

#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "caller.cuh"
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
  const OnDevice here;
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
  if (!stream->active) return nullptr;
  activate(stream.get(), kAllRows);
  return stream.release();
}

void close(Stream stream) {
  const std::unique_ptr<DeviceStream> owner(static_cast<DeviceStream*>(stream));
  release(owner->active);
}

void finish(Stream stream) { synchronize(device_stream(stream).stream); }

void follow(Stream stream, void* queue) {
  auto& here = *static_cast<DeviceStream*>(stream);
  const auto next = static_cast<cudaStream_t>(queue);
  if (here.stream == next) return;
  const cudaStream_t before = std::exchange(here.stream, nullptr);
  if (before) synchronize(before);
  if (!next) return;
  const cudaError_t error = cudaStreamQuery(next);
  if (error != cudaSuccess && error != cudaErrorNotReady) {
    static_cast<void>(cudaGetLastError());
    throw CudaError(std::string("stream: the array's CUDA stream cannot be used, as if it had been destroyed "
                                "(cudaStreamQuery: ") +
                    cudaGetErrorString(error) + ")");
  }
  here.stream = next;
}

// Captures on a non-blocking stream: the default stream cannot be captured, and must not wait for it.
class Recorder {
 public:
  explicit Recorder(DeviceStream& stream) : stream_(stream), own_(create_stream_apart()), before_(stream.stream) {
    stream.stream = own_;
  }
  ~Recorder() {
    stream_.stream = before_;
    static_cast<void>(cudaStreamDestroy(own_));
  }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  cudaStream_t own() const { return own_; }

 private:
  DeviceStream& stream_;
  const cudaStream_t own_, before_;
};

// The default stream cannot be captured: the work goes to one of its own, a replay to where the stream's work goes.
void* record(Stream stream, void (*work)(void*), void* argument) {
  const Recorder recorder(*static_cast<DeviceStream*>(stream));
  return std::make_unique<Graph>(recorder.own(), [&] { work(argument); }).release();
}

void replay(Stream stream, void* recording) { static_cast<Graph*>(recording)->launch(device_stream(stream).stream); }

void forget(void* recording) { const std::unique_ptr<Graph> owner(static_cast<Graph*>(recording)); }

constexpr Device kDevice{allocate,   release,     holds,        open,       close,  finish, activate, follow,
                         check_rows, read_labels, write_labels, write_rows, record, replay, forget};

}  // namespace

void add_device(Kernels& k) { k.device = &kDevice; }

void copy_to_host(void* to, const void* from, Index bytes, std::uintptr_t stream) {
  if (stream != 0) synchronize(reinterpret_cast<cudaStream_t>(stream));
  memcpy_async(to, from, static_cast<std::size_t>(bytes), nullptr);
  synchronize(nullptr);
}

int device_of(const void* data) {
  cudaPointerAttributes a;
  if (cudaPointerGetAttributes(&a, data) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return -1;
  }
  return a.type == cudaMemoryTypeDevice || a.type == cudaMemoryTypeManaged ? a.device : -1;
}

namespace {

// Of architectures as nvcc has them, 100 times a compute capability: a binary runs on its generation from its own on,
// and PTX, which there is of the newest, on all that came later.
bool runs_on(int gpu, int built, int newest) { return gpu >= newest || (gpu / 100 == built / 100 && gpu >= built); }

std::string capability(int architecture) {
  return std::to_string(architecture / 100) + "." + std::to_string(architecture / 10 % 10);
}

// Empty if the first device can run what was compiled.
std::string architecture_problem() {
  constexpr int kBuilt[] = {__CUDA_ARCH_LIST__};
  int major = 0, minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0), "cudaDeviceGetAttribute");
  const int gpu = 100 * major + 10 * minor;
  std::string wanted;
  for (const int built : kBuilt) {
    if (runs_on(gpu, built, kBuilt[std::size(kBuilt) - 1])) return {};
    wanted += capability(built) + ", ";
  }
  return "the GPU has compute capability " + capability(gpu) + ", this build is for " + wanted + "and newer ones";
}

}  // namespace

std::string device_problem() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return architecture_problem();
  static_cast<void>(cudaGetLastError());
  if (error == cudaErrorInsufficientDriver) {
    int driver = 0;
    static_cast<void>(cudaDriverGetVersion(&driver));
    return driver == 0 ? "no NVIDIA driver is installed"
                       : "the NVIDIA driver is older than the CUDA toolkit of this build";
  }
  if (error == cudaSuccess || error == cudaErrorNoDevice) return "no CUDA device is visible";
  return std::string("cudaGetDeviceCount: ") + cudaGetErrorString(error);
}

}  // namespace epsball::cuda
