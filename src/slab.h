// The memory of one unit of work: an arena from which a worker cuts the buffers of a slab before the first step.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "kernels.h"

namespace epsball {

// Gives out memory of a device that a library of the caller's manages; null where it has no room.
using Lender = std::function<std::shared_ptr<void>(Index bytes)>;

// Memory of a table, on a cache line at least.
class Memory {
 public:
  Memory() = default;
  Memory(const Kernels& kernels, Index bytes, const Lender* lender = nullptr);  // throws std::bad_alloc
  template <class T>
  T* as() const {
    return static_cast<T*>(data_.get());
  }

 private:
  std::shared_ptr<void> data_;
};

// Buffers of a table that start on a cache line. With guards on, each lies between guard bytes and starts out poisoned
// (NaN, 0xFF).
class Arena {
 public:
  explicit Arena(const Kernels& kernels);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  const Kernels& kernels() const { return kernels_; }
  // For all that happens in this memory; null on the host.
  Stream stream() const { return stream_; }
  // Who gives the memory that is wanted from now on; null: the table's device.
  void borrow_from(const Lender* lender) { lender_ = lender; }

  template <class T>
  T* take(Index count) {
    return static_cast<T*>(take_bytes(count * static_cast<Index>(sizeof(T))));
  }
  Rows take_rows(Index rows, Index features) { return {take<float>(rows * padded(features)), padded(features)}; }

  // Throws std::logic_error if a kernel wrote over a guard.
  void check() const;
  // Forgets every buffer, keeps the memory.
  void reset();
  // Gives the memory back as well.
  void clear();

 private:
  void* take_bytes(Index bytes);
  // On a device: what was given to the stream is done, as it must be before memory is given back.
  void finish() const;

  struct Buffer {
    Memory memory;
    Index bytes;  // handed out
    Index room;   // allocated between the guards
    bool guarded;
  };
  const Kernels& kernels_;
  Stream stream_ = nullptr;
  const Lender* lender_ = nullptr;
  std::vector<Buffer> buffers_;
  std::size_t next_ = 0;
};

// While one of these lives, arenas that its thread borrows work on a queue of the caller's (see Device::follow), with
// memory that the caller's library gives, if it gives any.
class OnCallersQueue {
 public:
  OnCallersQueue(void* queue, const Lender* lender);
  ~OnCallersQueue();
  OnCallersQueue(const OnCallersQueue&) = delete;
  OnCallersQueue& operator=(const OnCallersQueue&) = delete;

 private:
  void* const queue_before_;
  const Lender* const lender_before_;
};

// Arenas that outlive a call, so that a call on one image allocates nothing; of any table.
class ArenaPool {
 public:
  std::unique_ptr<Arena> borrow(const Kernels& kernels);
  void give_back(std::unique_ptr<Arena> arena);

 private:
  std::unique_ptr<Arena> idle_one(const Kernels& kernels);  // null: none is idle

  std::mutex mutex_;
  std::vector<std::unique_ptr<Arena>> idle_;
};

// An arena borrowed for one call.
class Borrowed {
 public:
  Borrowed(ArenaPool& pool, const Kernels& kernels) : pool_(pool), arena_(pool.borrow(kernels)) {}
  ~Borrowed() { pool_.give_back(std::move(arena_)); }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  Arena& operator*() { return *arena_; }

 private:
  ArenaPool& pool_;
  std::unique_ptr<Arena> arena_;
};

}  // namespace epsball
