// The live blocks of the emulated device, by address.
#include "memory.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#include "grid.h"
#include "guarded_block.h"

namespace epsball::cuda::emulate {
namespace {

constexpr std::size_t kAlignment = 256;  // as cudaMalloc promises, and the width of a guard

// The one device there is; calls may come from several host threads.
struct Device {
  std::mutex mutex;
  std::map<std::uintptr_t, GuardedBlock> blocks;  // by the start of their data
  std::size_t bytes = 0, limit = 0;
  int accesses = 0;  // kernels and copies that run now
  bool protect = false;

  Device() {
    const char* wanted = std::getenv("EPSBALL_EMULATE_PROTECT");
    protect = wanted && std::strcmp(wanted, "1") == 0;
  }
  void close_all(bool closed) {
    if (!protect) return;
    for (const auto& [start, block] : blocks) block.close(closed);
  }
  // The block whose data or guards hold the address.
  const GuardedBlock* around(std::uintptr_t at) const {
    auto next = blocks.upper_bound(at + kAlignment);
    if (next == blocks.begin()) return nullptr;
    const auto& [start, block] = *--next;
    return at < start + block.bytes() + kAlignment ? &block : nullptr;
  }
};

// Never destroyed: other modules give memory back while the process ends.
Device& device() {
  union Kept {
    Device device;
    Kept() : device() {}
    ~Kept() {}
  };
  static Kept the;
  return the.device;
}

std::uintptr_t address(const void* at) { return reinterpret_cast<std::uintptr_t>(at); }

}  // namespace

DeviceMemory device_memory() {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  return {d.bytes, d.blocks.size()};
}

void limit_device_memory(std::size_t bytes) {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  d.limit = bytes;
}

void protect_device_memory(bool on) {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  if (!d.blocks.empty()) throw EmulationError("protect_device_memory: device memory is in use");
  d.protect = on;
}

void* allocate(std::size_t bytes) {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  if (d.limit > 0 && d.bytes + bytes > d.limit) throw std::bad_alloc();
  GuardedBlock block(bytes, kAlignment, d.protect ? GuardedBlock::Kind::pages : GuardedBlock::Kind::heap);
  if (d.accesses == 0) block.close(true);
  void* data = block.data();
  d.blocks.emplace(address(data), std::move(block));
  d.bytes += bytes;
  return data;
}

bool release(void* data) {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  const auto found = d.blocks.find(address(data));
  if (found == d.blocks.end()) return false;
  d.bytes -= found->second.bytes();
  d.blocks.erase(found);
  return true;
}

bool is_device(const void* at) {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  return d.around(address(at)) != nullptr;
}

void check_device_range(const void* at, std::size_t bytes, const std::string& call) {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  const GuardedBlock* block = d.around(address(at));
  if (!block) throw EmulationError(call + ": the pointer lies in no live block of device memory");
  const std::uintptr_t start = address(block->data());
  if (address(at) < start || address(at) + bytes > start + block->bytes())
    throw EmulationError(call + ": " + std::to_string(bytes) + " bytes from byte " +
                         std::to_string(static_cast<std::int64_t>(address(at) - start)) + " of a block of " +
                         std::to_string(block->bytes()));
}

DeviceAccess::DeviceAccess() {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  if (d.accesses++ == 0) d.close_all(false);
}

DeviceAccess::~DeviceAccess() {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  if (--d.accesses == 0) d.close_all(true);
}

void DeviceAccess::check_guards(const std::string& call) const {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  for (const auto& [start, block] : d.blocks)
    if (!block.intact())
      throw EmulationError(call + ": write outside a block of " + std::to_string(block.bytes()) +
                           " bytes of device memory");
}

}  // namespace epsball::cuda::emulate
