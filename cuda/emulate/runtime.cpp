// Streams, events, graphs and copies of the emulated device. What CUDA reports as a code is a code here, too; what CUDA
// would not notice is an EmulationError.
#include "runtime.h"

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace epsball::cuda {
namespace emulate {

struct Graph {
  std::vector<std::function<void()>> calls;
};
struct Stream {
  std::unique_ptr<Graph> capture;
  std::size_t calls = 0;
  bool blocking = true;  // the default stream waits for it, and it for the default stream
};
struct Event {
  std::chrono::steady_clock::time_point at;
  bool recorded = false;
};

namespace {

// Every stream there is; calls may come from several host threads. Never destroyed, as memory.cpp's device.
struct Streams {
  std::mutex mutex;
  std::map<Stream*, std::unique_ptr<Stream>> live;
  Stream standard;
  Traffic traffic;
  std::size_t waits = 0;
  std::vector<Launched> launches;
  bool note_launches = false;
};

Streams& streams() {
  union Kept {
    Streams streams;
    Kept() : streams() {}
    ~Kept() {}
  };
  static Kept the;
  return the.streams;
}

thread_local int current_device = 0;

void check_current_device(const char* call) {
  if (current_device != 0)
    throw EmulationError(std::string(call) + ": the calling thread's current device is not the one it is meant for");
}

// Null, 1 and 2 stand for the default streams.
bool is_standard(Stream* stream) { return reinterpret_cast<std::uintptr_t>(stream) <= 2; }

Stream* found(Stream* stream) {
  Streams& all = streams();
  const std::lock_guard lock(all.mutex);
  if (is_standard(stream)) return &all.standard;
  return all.live.count(stream) ? stream : nullptr;
}

}  // namespace

void submit(Stream* stream, std::function<void()> work) {
  check_current_device("work for a stream");
  Stream* const to = found(stream);
  if (!to) throw EmulationError("a stream that has been destroyed was given work");
  {
    const std::lock_guard lock(streams().mutex);
    ++to->calls;
    for (const auto& [other, owner] : streams().live)
      if (to == &streams().standard && other->blocking && other->capture)
        throw EmulationError("the default stream was given work while one that it waits for is captured");
  }
  if (to->capture)
    to->capture->calls.push_back(std::move(work));
  else
    work();
}

Traffic traffic() {
  const std::lock_guard lock(streams().mutex);
  return streams().traffic;
}

std::vector<Launched> take_launches() {
  const std::lock_guard lock(streams().mutex);
  streams().note_launches = true;
  return std::exchange(streams().launches, {});
}

void note_launch(const Launched& launched) {
  const std::lock_guard lock(streams().mutex);
  if (streams().note_launches) streams().launches.push_back(launched);
}

std::size_t waits() {
  const std::lock_guard lock(streams().mutex);
  return streams().waits;
}

std::size_t calls_of(Stream* stream) {
  Stream* const of = found(stream);
  const std::lock_guard lock(streams().mutex);
  return of ? of->calls : 0;
}

}  // namespace emulate

namespace {

thread_local int captures = 0;  // that this thread has begun

bool captured(cudaStream_t stream) {
  const emulate::Stream* const live = emulate::found(stream);
  return live && live->capture;
}

// A pointer of the default kind is what it looks like: device memory, or anything else, which is the host's.
void check_and_count_copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const bool guess = kind == cudaMemcpyDefault;
  const bool to_device =
      guess ? emulate::is_device(to) : kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device =
      guess ? emulate::is_device(from) : kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const std::string call = "cudaMemcpyAsync";
  if (to_device) emulate::check_device_range(to, bytes, call + ", destination");
  if (from_device) emulate::check_device_range(from, bytes, call + ", source");
  if (!to_device && emulate::is_device(to))
    throw emulate::EmulationError(call + ", destination: device memory where the host's was promised");
  if (!from_device && emulate::is_device(from))
    throw emulate::EmulationError(call + ", source: device memory where the host's was promised");
  const std::lock_guard lock(emulate::streams().mutex);
  if (to_device && !from_device) emulate::streams().traffic.to_device += bytes;
  if (from_device && !to_device) emulate::streams().traffic.to_host += bytes;
}

}  // namespace

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorIllegalState:
      return "the operation cannot be performed in the present state";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
  }
  return "unknown error";
}

namespace {

std::string wanted_device() {
  const char* wanted = std::getenv("EPSBALL_EMULATE_DEVICE");
  return wanted ? wanted : "";
}

// 0: what is wanted is no device.
int architecture(const std::string& device) { return std::atoi(device.c_str()); }

}  // namespace

cudaError_t cudaGetDeviceCount(int* count) {
  const std::string device = wanted_device();
  const bool there = device.empty() || architecture(device) > 0;
  *count = there ? 1 : 0;
  return there ? cudaSuccess : device == "none" ? cudaErrorNoDevice : cudaErrorInsufficientDriver;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  const int wanted = architecture(wanted_device()), capability = (wanted > 0 ? wanted : 900) / 10;
  *value = attribute == cudaDevAttrComputeCapabilityMajor ? capability / 10 : capability % 10;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = wanted_device() == "no driver" ? 0 : 12000;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = emulate::current_device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device > 1) return cudaErrorInvalidDevice;
  emulate::current_device = device;
  return cudaSuccess;
}

// ---- memory ----

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  return captures ? cudaErrorStreamCaptureUnsupported : cudaMallocAsync(data, bytes, nullptr);
}
cudaError_t cudaFree(void* data) { return captures ? cudaErrorStreamCaptureUnsupported : cudaFreeAsync(data, nullptr); }
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* data) {
  attributes->type = emulate::is_device(data) ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered;
  attributes->device = 0;
  return cudaSuccess;
}

// A graph may hold allocations of its own; no kernel table wants that, so a capture refuses them.
cudaError_t cudaMallocAsync(void** data, std::size_t bytes, cudaStream_t stream) {
  if (captured(stream)) return cudaErrorStreamCaptureUnsupported;
  if (!data) return cudaErrorInvalidValue;
  emulate::check_current_device("cudaMallocAsync");
  *data = nullptr;
  if (bytes == 0) return cudaSuccess;
  try {
    *data = emulate::allocate(bytes);
  } catch (const std::bad_alloc&) {
    return cudaErrorMemoryAllocation;
  }
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* data, cudaStream_t stream) {
  if (captured(stream)) return cudaErrorStreamCaptureUnsupported;
  return !data || emulate::release(data) ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!to || !from) return cudaErrorInvalidValue;
  emulate::submit(stream, [=] {
    check_and_count_copy(to, from, bytes, kind);
    const emulate::DeviceAccess access;
    std::memmove(to, from, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int byte, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!to) return cudaErrorInvalidValue;
  emulate::submit(stream, [=] {
    emulate::check_device_range(to, bytes, "cudaMemsetAsync");
    const emulate::DeviceAccess access;
    std::memset(to, byte, bytes);
  });
  return cudaSuccess;
}

// ---- streams and events ----

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, 0); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  auto made = std::make_unique<emulate::Stream>();
  made->blocking = flags != cudaStreamNonBlocking;
  *stream = made.get();
  emulate::Streams& all = emulate::streams();
  const std::lock_guard lock(all.mutex);
  all.live.emplace(*stream, std::move(made));
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  emulate::Streams& all = emulate::streams();
  const std::lock_guard lock(all.mutex);
  return all.live.erase(stream) ? cudaSuccess : cudaErrorInvalidResourceHandle;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  {
    const std::lock_guard lock(emulate::streams().mutex);
    ++emulate::streams().waits;
  }
  return cudaStreamQuery(stream);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (!emulate::found(stream)) return cudaErrorInvalidResourceHandle;
  return captured(stream) ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = std::make_unique<emulate::Event>().release();
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::unique_ptr<emulate::Event> owner(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  emulate::submit(stream, [=] {
    event->at = std::chrono::steady_clock::now();
    event->recorded = true;
  });
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  if (!from->recorded || !to->recorded) return cudaErrorInvalidValue;
  *milliseconds = std::chrono::duration<float, std::milli>(to->at - from->at).count();
  return cudaSuccess;
}

// ---- graphs ----

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (emulate::is_standard(stream)) return cudaErrorStreamCaptureUnsupported;
  if (stream->capture) return cudaErrorIllegalState;
  stream->capture = std::make_unique<emulate::Graph>();
  ++captures;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (!captured(stream)) return cudaErrorIllegalState;
  *graph = stream->capture.release();
  --captures;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = std::make_unique<emulate::Graph>(*graph).release();
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const std::unique_ptr<emulate::Graph> owner(graph);
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  const std::unique_ptr<emulate::Graph> owner(executable);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  emulate::submit(stream, [calls = executable->calls] {
    for (const auto& call : calls) call();
  });
  return cudaSuccess;
}

}  // namespace epsball::cuda
