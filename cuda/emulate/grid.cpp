// The threads of one block after another on fibers, first come first served.
#include "grid.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "fiber.h"
#include "guarded_block.h"
#include "sanitizers.h"

namespace epsball::cuda {

__thread uint3 threadIdx;
__thread uint3 blockIdx;
__thread uint3 blockDim;
__thread uint3 gridDim;

namespace emulate {

std::string to_string(CallSite at) { return std::string(at.file_name()) + ":" + std::to_string(at.line()); }

namespace {

// One place is mostly one object of the compiler's, which is cheaper to see.
bool same(CallSite a, CallSite b) {
  if (std::memcmp(&a, &b, sizeof(CallSite)) == 0) return true;
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

// Threads that meet. Two tokens in turn: who is a barrier ahead may not pass its writes to who still leaves this one.
struct Meeting {
  int waiting = 0;
  CallSite at;
  unsigned turn = 0;
  char token[2] = {};
};

struct Warp {
  Meeting meeting;
  std::uint64_t values[2][kWarp];
};

enum class State { unstarted, running, waiting, exited };

struct Thread {
  Fiber* fiber;
  uint3 index;
  State state;
  const char* waits_in;  // the kind of meeting
  CallSite at;
};

class Machine {
 public:
  Machine() = default;
  void run(const Grid& grid);
  void meet_block(CallSite at);
  Warp& meet_warp(CallSite at, const char* kind, bool orders_memory, const std::uint64_t* value, unsigned* turn);
  void* shared(const void* key, std::size_t bytes, CallSite at);
  void* dynamic_shared() const { return dynamic_; }
  [[noreturn]] void fail(const char* what, CallSite at);
  [[noreturn]] void run_fiber();
  bool busy() const { return grid_ != nullptr; }

 private:
  struct SharedArray {
    const void* key;
    CallSite at;
    GuardedBlock memory;
  };

  void check_configuration(const Grid& grid) const;
  void run_block();
  void run_thread(int number);
  void release(Meeting& m, int first, int last);
  void wait(const char* kind, CallSite at);
  void leave_to_next();
  void switch_to(Fiber& to);
  Fiber& fiber_for(int number);
  Fiber& new_fiber();
  void check_shared();
  [[noreturn]] void stop();
  [[noreturn]] void fail_elsewhere(const char* what, CallSite some, CallSite others);
  std::string stuck() const;
  void give_up();

  const Grid* grid_ = nullptr;
  Fiber host_;
  std::array<std::unique_ptr<Fiber>, kMaxThreads> fibers_;  // no container that grows: fibers share no heap calls
  std::array<Fiber*, kMaxThreads> idle_;
  int fiber_count_ = 0, idle_count_ = 0;
  Fiber* running_ = &host_;
  int size_ = 0, started_ = 0, exited_ = 0, current_ = 0;
  uint3 next_index_;
  Meeting block_;
  std::array<Warp, kMaxThreads / kWarp> warps_;
  std::array<Thread, kMaxThreads> threads_;
  std::array<int, kMaxThreads> ready_;  // a ring of those that may go on
  unsigned ready_first_ = 0, ready_count_ = 0;
  std::vector<SharedArray> shared_;
  void* dynamic_ = nullptr;
  std::string error_;
  char launched_ = 0, finished_ = 0;  // tokens: all that the host did before, all that the threads did
};

// One per host thread that launches, kept with its fibers for the next launch.
Machine& machine() {
  thread_local std::unique_ptr<Machine> mine;
  if (!mine) mine = std::make_unique<Machine>();
  return *mine;
}
__thread Machine* running_machine __attribute__((tls_model("initial-exec"))) = nullptr;

void fiber_body() {
  Fiber::entered();
  running_machine->run_fiber();
}

void acquire(char& token) {
  if (under_tsan()) __tsan_acquire(&token);
}
void release_to(char& token) {
  if (under_tsan()) __tsan_release(&token);
}

// ---- the host's side ----

void Machine::check_configuration(const Grid& g) const {
  const auto threads = std::uint64_t{g.block.x} * g.block.y * g.block.z;
  if (threads == 0 || threads > kMaxThreads || g.block.z > 64)
    throw EmulationError(to_string(g.at) + ": launch of a block of " + std::to_string(g.block.x) + " x " +
                         std::to_string(g.block.y) + " x " + std::to_string(g.block.z) + " threads, 1 to 1024 wanted");
  if (g.grid.x == 0 || g.grid.y == 0 || g.grid.z == 0 || g.grid.x > 0x7fffffffu || g.grid.y > 65535 || g.grid.z > 65535)
    throw EmulationError(to_string(g.at) + ": launch of a grid of " + std::to_string(g.grid.x) + " x " +
                         std::to_string(g.grid.y) + " x " + std::to_string(g.grid.z) +
                         " blocks, up to 2^31 - 1 x 65535 x 65535 wanted");
  if (g.shared_bytes > kMaxShared)
    throw EmulationError(to_string(g.at) + ": launch with " + std::to_string(g.shared_bytes) +
                         " bytes of dynamic shared memory, a block of sm_80 has " + std::to_string(kMaxShared));
}

void Machine::run(const Grid& g) {
  check_configuration(g);
  grid_ = &g;
  size_ = static_cast<int>(g.block.x * g.block.y * g.block.z);
  blockDim = {g.block.x, g.block.y, g.block.z};
  gridDim = {g.grid.x, g.grid.y, g.grid.z};
  while (under_tsan() && fiber_count_ < size_) new_fiber();  // it wants them made by the thread that launches
  release_to(launched_);
  for (unsigned z = 0; z < g.grid.z; ++z)
    for (unsigned y = 0; y < g.grid.y; ++y)
      for (unsigned x = 0; x < g.grid.x; ++x) {
        blockIdx = {x, y, z};
        run_block();
      }
  acquire(finished_);
  grid_ = nullptr;
}

void Machine::run_block() {
  started_ = exited_ = 0;
  next_index_ = {};
  block_.waiting = 0;
  for (int w = 0; w * kWarp < size_; ++w) warps_[w].meeting.waiting = 0;
  if (grid_->shared_bytes) dynamic_ = shared(&dynamic_, grid_->shared_bytes, grid_->at);
  switch_to(fiber_for(0));
  if (error_.empty() && exited_ < size_) error_ = stuck();
  if (error_.empty()) check_shared();
  Unseen unseen;
  shared_.clear();
  dynamic_ = nullptr;
  if (!error_.empty()) give_up();
}

// The fibers of the block are in the middle of it: new ones next time.
void Machine::give_up() {
  acquire(finished_);
  for (auto& fiber : fibers_) fiber.reset();
  fiber_count_ = idle_count_ = 0;
  ready_count_ = 0;
  const std::string what = std::exchange(error_, {}) + " (block " + std::to_string(blockIdx.x) + ", " +
                           std::to_string(blockIdx.y) + ", " + std::to_string(blockIdx.z) + " of the launch at " +
                           to_string(grid_->at) + ")";
  grid_ = nullptr;
  throw EmulationError(what);
}

// Nothing can go on, and not all have left: says who waits where.
std::string Machine::stuck() const {
  std::map<std::string, int> waits;
  for (int t = 0; t < size_; ++t)
    if (threads_[t].state == State::waiting) ++waits[threads_[t].waits_in + (" at " + to_string(threads_[t].at))];
  std::string what = "divergent barrier:";
  for (const auto& [where, count] : waits)
    what += " " + std::to_string(count) + " of " + std::to_string(size_) + " threads wait in " + where + ";";
  return what + " " + std::to_string(exited_) + " have exited, so they wait for ever";
}

void Machine::check_shared() {
  for (const SharedArray& s : shared_)
    if (!s.memory.intact())
      error_ = "write outside the shared array of " + std::to_string(s.memory.bytes()) + " bytes declared at " +
               to_string(s.at);
}

// ---- the threads' side ----

Fiber& Machine::fiber_for(int number) {
  if (under_tsan()) return *fibers_[number];
  return idle_count_ > 0 ? *idle_[--idle_count_] : new_fiber();
}

Fiber& Machine::new_fiber() {
  fibers_[fiber_count_] = std::make_unique<Fiber>(fiber_body);
  return *fibers_[fiber_count_++];
}

void Machine::switch_to(Fiber& to) {
  Fiber* from = std::exchange(running_, &to);
  from->switch_to(to);
}

void Machine::run_fiber() {
  for (;;) {
    do run_thread(started_++);
    while (!under_tsan() && ready_count_ == 0 && started_ < size_);
    if (!under_tsan()) idle_[idle_count_++] = running_;
    leave_to_next();
  }
}

void Machine::run_thread(int number) {
  threadIdx = next_index_;
  if (++next_index_.x == blockDim.x) {
    next_index_.x = 0;
    if (++next_index_.y == blockDim.y) {
      next_index_.y = 0;
      ++next_index_.z;
    }
  }
  threads_[number] = {running_, threadIdx, State::running, "", {}};
  current_ = number;
  acquire(launched_);
  grid_->kernel(grid_->arguments);
  release_to(finished_);
  threads_[current_].state = State::exited;
  ++exited_;
}

// Who was released goes on first, so that few fibers are alive at a time; then who has not started; then the host.
void Machine::leave_to_next() {
  if (ready_count_ > 0) {
    const int next = ready_[ready_first_++ % kMaxThreads];
    --ready_count_;
    switch_to(*threads_[next].fiber);
  } else if (started_ < size_) {
    switch_to(fiber_for(started_));
  } else {
    switch_to(host_);
  }
}

void Machine::wait(const char* kind, CallSite at) {
  const int me = current_;
  threads_[me].state = State::waiting;
  threads_[me].waits_in = kind;
  threads_[me].at = at;
  release_to(finished_);  // should it never go on
  leave_to_next();
  threads_[me].state = State::running;
  current_ = me;
  threadIdx = threads_[me].index;
}

// All of [first, last) have come: everyone but the last to come, who just goes on, may go on.
void Machine::release(Meeting& m, int first, int last) {
  m.waiting = 0;
  ++m.turn;
  for (int t = first; t < last; ++t)
    if (t != current_) ready_[(ready_first_ + ready_count_++) % kMaxThreads] = t;
}

void Machine::meet_block(CallSite at) {
  if (block_.waiting > 0 && !same(block_.at, at)) fail_elsewhere("divergent barrier", block_.at, at);
  char& token = block_.token[block_.turn & 1];
  release_to(token);
  block_.at = at;
  if (++block_.waiting == size_)
    release(block_, 0, size_);
  else
    wait("a block's barrier", at);
  acquire(token);
}

Warp& Machine::meet_warp(CallSite at, const char* kind, bool orders_memory, const std::uint64_t* value,
                         unsigned* turn) {
  const int warp = current_ / kWarp, first = warp * kWarp;
  Warp& w = warps_[warp];
  if (size_ - first < kWarp) fail("the block's last warp is not whole, as what a warp does together wants it", at);
  if (w.meeting.waiting > 0 && !same(w.meeting.at, at)) fail_elsewhere("divergent warp", w.meeting.at, at);
  *turn = w.meeting.turn & 1;
  if (value) w.values[*turn][current_ - first] = *value;
  char& token = w.meeting.token[*turn];
  if (orders_memory) release_to(token);
  w.meeting.at = at;
  if (++w.meeting.waiting == kWarp)
    release(w.meeting, first, first + kWarp);
  else
    wait(kind, at);
  if (orders_memory) acquire(token);
  return w;
}

void* Machine::shared(const void* key, std::size_t bytes, CallSite at) {
  for (const SharedArray& s : shared_)
    if (s.key == key) return s.memory.data();
  Unseen unseen;  // no thread of the block owns it
  shared_.push_back({key, at, GuardedBlock(bytes, 128)});
  return shared_.back().memory.data();
}

// The host gives the fiber up, so nothing that wants to be destroyed may be left on it.
void Machine::stop() {
  release_to(finished_);
  switch_to(host_);
  std::abort();
}

void Machine::fail(const char* what, CallSite at) {
  error_ = to_string(at) + ": " + what;
  stop();
}

void Machine::fail_elsewhere(const char* what, CallSite some, CallSite others) {
  error_ = std::string(what) + ": some threads are at " + to_string(some) + ", others at " + to_string(others);
  stop();
}

}  // namespace

void run(const Grid& grid) {
  Machine& m = machine();
  if (m.busy()) throw EmulationError(to_string(grid.at) + ": launch from inside a kernel");
  running_machine = &m;
  m.run(grid);
}

void block_barrier(CallSite at) { running_machine->meet_block(at); }

void warp_barrier(CallSite at) {
  unsigned turn;
  running_machine->meet_warp(at, "a warp's barrier", true, nullptr, &turn);
}

const std::uint64_t* all_lanes(std::uint64_t value, CallSite at) {
  unsigned turn;
  return running_machine->meet_warp(at, "a warp's exchange", false, &value, &turn).values[turn];
}

void* shared_array(const void* key, std::size_t bytes, CallSite at) { return running_machine->shared(key, bytes, at); }
void* dynamic_shared() { return running_machine->dynamic_shared(); }

void fail(const char* what, CallSite at) { running_machine->fail(what, at); }

}  // namespace emulate
}  // namespace epsball::cuda
