// Memory of tables, and arenas of it: cutting buffers, guard bytes, reuse between calls.
#include "slab.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include "dispatch.h"

namespace epsball {
namespace {

constexpr Index kGuard = 64;
constexpr int kGuardByte = 0xA5;
constexpr int kPoisonByte = 0xFF;  // four of them are a NaN

struct DeviceMemoryFull : std::bad_alloc {
  const char* what() const noexcept override { return "device: its memory is full"; }
};

thread_local void* callers_queue = nullptr;
thread_local const Lender* callers_lender = nullptr;

}  // namespace

// ---- memory ----

Memory::Memory(const Kernels& kernels, Index bytes, const Lender* lender) {
  if (!kernels.device) {
    data_ = {::operator new(static_cast<std::size_t>(bytes), std::align_val_t{64}),
             [](void* p) { ::operator delete(p, std::align_val_t{64}); }};
    return;
  }
  if (lender)
    data_ = (*lender)(bytes);
  else if (void* const own = kernels.device->allocate(bytes))
    data_ = {own, kernels.device->release};
  if (!data_) throw DeviceMemoryFull();
}

// ---- arenas ----

Arena::Arena(const Kernels& kernels) : kernels_(kernels) {
  if (!kernels.device) return;
  stream_ = kernels.device->open();
  if (!stream_) throw DeviceMemoryFull();
}

Arena::~Arena() {
  if (kernels_.device) kernels_.device->close(stream_);
}

void* Arena::take_bytes(Index bytes) {
  const bool guarded = guards();
  if (next_ == buffers_.size() || buffers_[next_].room < bytes) {
    const Index room = (bytes + 63) / 64 * 64;
    Buffer buffer{Memory(kernels_, room + 2 * kGuard, lender_), bytes, room, guarded};
    if (next_ == buffers_.size()) {
      buffers_.push_back(std::move(buffer));
    } else {
      finish();
      buffers_[next_] = std::move(buffer);
    }
  }
  Buffer& buffer = buffers_[next_++];
  buffer.bytes = bytes;
  buffer.guarded = guarded;
  char* start = buffer.memory.as<char>() + kGuard;
  if (guarded) {
    kernels_.fill(stream_, start - kGuard, kGuardByte, kGuard);
    kernels_.fill(stream_, start, kPoisonByte, bytes);
    kernels_.fill(stream_, start + bytes, kGuardByte, buffer.room + kGuard - bytes);
  }
  return start;
}

void Arena::check() const {
  std::vector<unsigned char> seen;
  for (std::size_t i = 0; i < next_; ++i) {
    const Buffer& buffer = buffers_[i];
    if (!buffer.guarded) continue;
    const Index behind = buffer.room + kGuard - buffer.bytes;
    const auto* start = buffer.memory.as<const char>() + kGuard;
    seen.resize(static_cast<std::size_t>(kGuard + behind));
    kernels_.copy(stream_, seen.data(), start - kGuard, kGuard);
    kernels_.copy(stream_, seen.data() + kGuard, start + buffer.bytes, behind);
    finish();
    if (std::any_of(seen.begin(), seen.end(), [](unsigned char byte) { return byte != kGuardByte; }))
      throw std::logic_error("a kernel wrote outside workspace buffer " + std::to_string(i));
  }
}

void Arena::reset() { next_ = 0; }

void Arena::clear() {
  finish();
  reset();
  buffers_.clear();
}

void Arena::finish() const {
  if (kernels_.device) kernels_.device->finish(stream_);
}

OnCallersQueue::OnCallersQueue(void* queue, const Lender* lender)
    : queue_before_(std::exchange(callers_queue, queue)), lender_before_(std::exchange(callers_lender, lender)) {}

OnCallersQueue::~OnCallersQueue() {
  callers_queue = queue_before_;
  callers_lender = lender_before_;
}

std::unique_ptr<Arena> ArenaPool::idle_one(const Kernels& kernels) {
  const std::lock_guard lock(mutex_);
  for (auto idle = idle_.rbegin(); idle != idle_.rend(); ++idle)
    if (&(*idle)->kernels() == &kernels) {
      auto arena = std::move(*idle);
      idle_.erase(std::next(idle).base());
      return arena;
    }
  return nullptr;
}

std::unique_ptr<Arena> ArenaPool::borrow(const Kernels& kernels) {
  auto arena = idle_one(kernels);
  if (!arena) arena = std::make_unique<Arena>(kernels);
  if (!kernels.device) return arena;
  arena->borrow_from(callers_lender);
  kernels.device->follow(arena->stream(), callers_queue);
  // An attack that was stopped may have left rows inactive.
  kernels.device->activate(arena->stream(), std::numeric_limits<Index>::max());
  return arena;
}

// An arena whose queue fails is of no more use.
void ArenaPool::give_back(std::unique_ptr<Arena> arena) {
  const Device* device = arena->kernels().device;
  try {
    if (device) device->follow(arena->stream(), nullptr);
  } catch (const std::exception&) {
    return;
  }
  arena->borrow_from(nullptr);
  arena->reset();
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(arena));
}

}  // namespace epsball
