// Who runs the slabs: OpenMP threads, std::threads (ThreadSanitizer builds) or the caller alone.
#pragma once

#include <atomic>
#include <functional>
#include <stdexcept>
#include <thread>
#include <type_traits>

#include "array.h"

namespace epsball {

// Thrown on every worker once the caller's poll asked to stop.
struct Interrupted : std::runtime_error {
  Interrupted() : std::runtime_error("interrupted") {}
};

class Crew;

// Lets a long call be stopped: workers look at a flag, the calling thread also polls (Ctrl-C) a few times a second.
class Interruption {
 public:
  explicit Interruption(std::function<bool()> poll);
  void check();  // throws Interrupted
  bool poll();   // calling thread only; true once the call should stop
  void stop() { stopped_ = true; }

  Crew* crew = nullptr;  // whom the call has its phases run by, where it keeps one

 private:
  std::function<bool()> poll_;
  std::thread::id caller_;
  std::int64_t next_poll_;
  std::atomic<bool> stopped_{false};
};

// The threads that share the products of one slab, when there are fewer slabs than threads. The leader runs the attack
// and calls split; the others wait in serve. A member keeps to its own part, whose weights lie in its core's cache; the
// leader, done with its own, takes the parts that no member has started.
class Team {
 public:
  static constexpr int kMost = 32;

  explicit Team(int size) : size_(size) {}
  int size() const { return size_; }

  // Runs part(0) ... part(size - 1), each on one of the members.
  template <class F>
  void split(F&& part) {
    call_ = [](void* f, int i) { (*static_cast<std::remove_reference_t<F>*>(f))(i); };
    argument_ = &part;
    left_.store(size_, std::memory_order_relaxed);
    ticket_.store((ticket_.load(std::memory_order_relaxed) | kAllTaken) + 1, std::memory_order_release);
    for (int i = 0; i < size_; ++i) take(i);
    while (left_.load(std::memory_order_acquire) != 0) pause();
  }
  void serve(int member);
  void dismiss() { dismissed_.store(true, std::memory_order_release); }

 private:
  static constexpr std::uint64_t kAllTaken = (std::uint64_t{1} << kMost) - 1;

  void take(int part);
  static void pause();

  int size_;
  void (*call_)(void*, int) = nullptr;
  void* argument_ = nullptr;
  alignas(64) std::atomic<int> left_{0};
  alignas(64) std::atomic<std::uint64_t> ticket_{kAllTaken};  // the turn, then a bit for each part that is taken
  std::atomic<bool> dismissed_{false};
};

// The threads that a call of many short phases keeps from one to the next. A phase waits for none of them but those
// that are at it: on a busy machine, whoever has not got a core joins late or not at all.
class Crew {
 public:
  // Calls work(0), and work(i) for other i < workers on members that come before it has returned; waits for those.
  void run(int workers, Interruption& interruption, const std::function<void(int worker)>& work);
  void serve();  // a member's time, until dismissed
  void dismiss();

 private:
  // Of the phase's state: how many may still join, how many are at it, and which phase it is.
  static constexpr std::uint32_t kSeat = 1, kInside = 1 << 8, kPhase = 1 << 16, kLow = 0xFF;
  static constexpr int kMost = 0xFF;

  std::function<void(int)> const* work_ = nullptr;
  std::atomic<std::uint32_t> state_{0};
  std::atomic<bool> dismissed_{false};
};

// Runs a call whose phases, of up to so many threads, are run by a crew.
void with_crew(int threads, Interruption& interruption, const std::function<void()>& call);

// How many threads a call may use now: OMP_NUM_THREADS, threadpoolctl, set_threads; 1 in a forked child.
int available_threads();
// The same, but no more than have 2 * 10^6 operations each: less gains nothing where the cores are ours alone, and on a
// busy machine every barrier waits for whoever was interrupted.
int threads_worth(double operations);
const char* executor_name();

// Runs work(worker) on `workers` threads, the calling thread being worker 0, which goes on polling until all are done.
// The first exception of any worker is rethrown after all have stopped. A call that has a crew has it take part.
void run_workers(int workers, Interruption& interruption, const std::function<void(int worker)>& work);

// Hands out 0 ... count - 1 in order.
class Tasks {
 public:
  explicit Tasks(Index count) : count_(count) {}
  // The next task, or -1.
  Index next() {
    const Index task = next_.fetch_add(1, std::memory_order_relaxed);
    return task < count_ ? task : -1;
  }

 private:
  Index count_;
  std::atomic<Index> next_{0};
};

// Runs task(0) ... task(count - 1) on as many threads as `operations` are worth.
void for_tasks(Index count, double operations, Interruption& interruption, const std::function<void(Index)>& task);

}  // namespace epsball
