// The memory of one unit of work: an arena from which a worker cuts the buffers of a slab before the first step.
#pragma once

#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "array.h"

namespace epsball {

// Buffers that start on a cache line. With guards on, each lies between guard bytes and starts out poisoned (NaN,
// 0xFF).
class Arena {
 public:
  template <class T>
  T* take(Index count) {
    return static_cast<T*>(take_bytes(count * static_cast<Index>(sizeof(T))));
  }
  Rows take_rows(Index rows, Index features) { return {take<float>(rows * padded(features)), padded(features)}; }

  // Throws std::logic_error if a kernel wrote over a guard.
  void check() const;
  // Forgets every buffer, keeps the memory.
  void reset();

 private:
  void* take_bytes(Index bytes);

  struct Free {
    void operator()(void* p) const { ::operator delete(p, std::align_val_t{64}); }
  };
  struct Buffer {
    std::unique_ptr<void, Free> memory;
    Index bytes;  // handed out
    Index room;   // allocated between the guards
    bool guarded;
  };
  std::vector<Buffer> buffers_;
  std::size_t next_ = 0;
};

// Arenas that outlive a call, so that a call on one image allocates nothing.
class ArenaPool {
 public:
  std::unique_ptr<Arena> borrow();
  void give_back(std::unique_ptr<Arena> arena);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Arena>> idle_;
};

// An arena borrowed for one call.
class Borrowed {
 public:
  explicit Borrowed(ArenaPool& pool) : pool_(pool), arena_(pool.borrow()) {}
  ~Borrowed() { pool_.give_back(std::move(arena_)); }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  Arena& operator*() { return *arena_; }

 private:
  ArenaPool& pool_;
  std::unique_ptr<Arena> arena_;
};

}  // namespace epsball
