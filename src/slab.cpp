// Arenas: cutting buffers, guard bytes, reuse between calls.
#include "slab.h"

#include <cstring>
#include <stdexcept>

#include "dispatch.h"

namespace epsball {
namespace {

constexpr Index kGuard = 64;
constexpr int kGuardByte = 0xA5;
constexpr int kPoisonByte = 0xFF;  // four of them are a NaN

}  // namespace

void* Arena::take_bytes(Index bytes) {
  const bool guarded = guards();
  if (next_ == buffers_.size() || buffers_[next_].room < bytes) {
    const Index room = (bytes + 63) / 64 * 64;
    void* memory = ::operator new(static_cast<std::size_t>(room + 2 * kGuard), std::align_val_t{64});
    Buffer buffer{std::unique_ptr<void, Free>(memory), bytes, room, guarded};
    if (next_ == buffers_.size())
      buffers_.push_back(std::move(buffer));
    else
      buffers_[next_] = std::move(buffer);
  }
  Buffer& buffer = buffers_[next_++];
  buffer.bytes = bytes;
  buffer.guarded = guarded;
  char* start = static_cast<char*>(buffer.memory.get()) + kGuard;
  if (guarded) {
    std::memset(start - kGuard, kGuardByte, kGuard);
    std::memset(start, kPoisonByte, static_cast<std::size_t>(bytes));
    std::memset(start + bytes, kGuardByte, static_cast<std::size_t>(buffer.room + kGuard - bytes));
  }
  return start;
}

void Arena::check() const {
  for (std::size_t i = 0; i < next_; ++i) {
    const Buffer& buffer = buffers_[i];
    if (!buffer.guarded) continue;
    const auto* start = static_cast<const unsigned char*>(buffer.memory.get()) + kGuard;
    bool intact = true;
    for (Index b = -kGuard; b < 0; ++b) intact &= start[b] == kGuardByte;
    for (Index b = buffer.bytes; b < buffer.room + kGuard; ++b) intact &= start[b] == kGuardByte;
    if (!intact) throw std::logic_error("a kernel wrote outside workspace buffer " + std::to_string(i));
  }
}

void Arena::reset() { next_ = 0; }

std::unique_ptr<Arena> ArenaPool::borrow() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto arena = std::move(idle_.back());
      idle_.pop_back();
      return arena;
    }
  }
  return std::make_unique<Arena>();
}

void ArenaPool::give_back(std::unique_ptr<Arena> arena) {
  arena->reset();
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(arena));
}

}  // namespace epsball
