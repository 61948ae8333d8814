// The emulated device's memory: who owns what, who may touch it when, and what was left behind.
#pragma once

#include <cstddef>
#include <string>

namespace epsball::cuda::emulate {

// What is allocated at this moment; a test that ends with more than it began with has leaked.
struct DeviceMemory {
  std::size_t bytes = 0, blocks = 0;
};
DeviceMemory device_memory();

// How many bytes the device has; 0: no end of them. The next allocation beyond fails.
void limit_device_memory(std::size_t bytes);

// From now on device memory can be touched only while a kernel or a copy runs: a host that reads it faults at once.
// Also switched on by EPSBALL_EMULATE_PROTECT=1. It costs a system call per block and launch. Throws while blocks live.
void protect_device_memory(bool on);

void* allocate(std::size_t bytes);
bool release(void* data);  // false: not the start of a live block

// Whether the address lies in a live block or in the guards around it.
bool is_device(const void* at);
// Throws EmulationError unless [at, at + bytes) lies in one live block.
void check_device_range(const void* at, std::size_t bytes, const std::string& call);

// Device memory may be touched while one of these lives.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;

  // Throws EmulationError if somebody wrote outside a live block.
  void check_guards(const std::string& call) const;
};

}  // namespace epsball::cuda::emulate
