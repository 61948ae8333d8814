// Threads, interruption and teams.
#include "executor.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <vector>

#if defined(EPSBALL_EXECUTOR_OPENMP)
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include "dispatch.h"

namespace epsball {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

namespace {

std::int64_t now_ms() {
  using std::chrono::duration_cast, std::chrono::milliseconds;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

constexpr std::int64_t kPollEveryMs = 50;
constexpr auto kSpinFor = 50us;              // that a member of a crew waits awake for the next phase
constexpr double kOperationsOfThread = 2e6;  // some 50 microseconds, ten times what waking a thread takes

// libgomp's threads do not exist in a forked child, and starting it there can hang: a child runs serially.
std::atomic<bool> forked{false};

bool watch_forks() {
#if defined(__unix__) || defined(__APPLE__)
  pthread_atfork(nullptr, nullptr, [] { forked = true; });
#endif
  return true;
}

const bool watching_forks = watch_forks();

}  // namespace

// ---- interruption ----

Interruption::Interruption(std::function<bool()> poll)
    : poll_(std::move(poll)), caller_(std::this_thread::get_id()), next_poll_(now_ms() + kPollEveryMs) {}

bool Interruption::poll() {
  if (stopped_) return true;  // Python is not asked again with an exception already raised
  if (now_ms() >= next_poll_) {
    if (poll_ && poll_()) stopped_ = true;
    next_poll_ = now_ms() + kPollEveryMs;
  }
  return stopped_;
}

void Interruption::check() {
  if (std::this_thread::get_id() == caller_ ? poll() : stopped_.load(std::memory_order_relaxed)) throw Interrupted();
}

// ---- team ----

void Team::pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// A part is taken only while its turn lasts, so call_ and argument_ stand still until it is done.
void Team::take(int part) {
  const std::uint64_t bit = std::uint64_t{1} << part;
  std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (!(ticket & bit)) {
    if (!ticket_.compare_exchange_weak(ticket, ticket | bit, std::memory_order_acq_rel, std::memory_order_acquire))
      continue;
    call_(argument_, part);
    left_.fetch_sub(1, std::memory_order_release);
    return;
  }
}

void Team::serve(int member) {
  for (int idle = 0; !dismissed_.load(std::memory_order_acquire); ++idle) {
    const std::uint64_t turn = ticket_.load(std::memory_order_relaxed);
    take(member);
    if (ticket_.load(std::memory_order_relaxed) != turn) idle = 0;
    idle < 20000 ? pause() : std::this_thread::yield();
  }
}

// ---- crew ----

namespace {

// The others may work for minutes yet: goes on listening for Ctrl-C, but leaves the core to whoever can use it.
template <class Busy>
void wait_while(Busy busy, Interruption& interruption) {
  const auto spin_until = steady_clock::now() + 1ms;
  while (busy()) {
    interruption.poll();
    if (steady_clock::now() < spin_until)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(100us);
  }
}

}  // namespace

void Crew::run(int workers, Interruption& interruption, const std::function<void(int)>& work) {
  work_ = &work;
  const std::uint32_t phase = state_.load(std::memory_order_relaxed) / kPhase + 1;
  const auto seats = static_cast<std::uint32_t>(std::min(workers - 1, kMost));
  state_.store(phase * kPhase + seats, std::memory_order_release);
  state_.notify_all();
  work(0);
  state_.fetch_and(~kLow, std::memory_order_relaxed);  // nobody joins any more
  wait_while([&] { return state_.load(std::memory_order_acquire) / kInside % (kPhase / kInside) != 0; }, interruption);
}

void Crew::serve() {
  std::uint32_t done = 0;  // the phase that this member was at last
  auto asleep_at = steady_clock::now() + kSpinFor;
  while (!dismissed_.load(std::memory_order_acquire)) {
    std::uint32_t state = state_.load(std::memory_order_acquire);
    if (state % kInside == 0 || state / kPhase == done) {
      if (steady_clock::now() < asleep_at)
        std::this_thread::yield();
      else
        state_.wait(state, std::memory_order_acquire);
      continue;
    }
    if (!state_.compare_exchange_weak(state, state - kSeat + kInside, std::memory_order_acq_rel)) continue;
    (*work_)(static_cast<int>(state % kInside));
    done = state / kPhase;
    state_.fetch_sub(kInside, std::memory_order_release);
    asleep_at = steady_clock::now() + kSpinFor;
  }
}

void Crew::dismiss() {
  dismissed_.store(true, std::memory_order_release);
  state_.fetch_add(kPhase, std::memory_order_release);
  state_.notify_all();
}

void with_crew(int threads, Interruption& interruption, const std::function<void()>& call) {
  if (threads == 1) return call();
  Crew crew;
  run_workers(threads, interruption, [&](int worker) {
    if (worker > 0) return crew.serve();
    struct Lent {
      Interruption& interruption;
      ~Lent() {
        interruption.crew->dismiss();
        interruption.crew = nullptr;
      }
    } lent{interruption};
    interruption.crew = &crew;
    call();
  });
}

// ---- workers ----

int available_threads() {
  if (forked) return 1;
  const int wanted = requested_threads();
  if (wanted > 0) return wanted;
#if defined(EPSBALL_EXECUTOR_OPENMP)
  return omp_get_max_threads();
#elif defined(EPSBALL_EXECUTOR_THREADS)
  const unsigned cores = std::thread::hardware_concurrency();
  return cores ? static_cast<int>(cores) : 1;
#else
  return 1;
#endif
}

int threads_worth(double operations) {
  const int threads = available_threads();
  if (shares_all()) return threads;
  return static_cast<int>(std::clamp(operations / kOperationsOfThread, 1.0, static_cast<double>(threads)));
}

const char* executor_name() {
#if defined(EPSBALL_EXECUTOR_OPENMP)
  return "openmp";
#elif defined(EPSBALL_EXECUTOR_THREADS)
  return "threads";
#else
  return "serial";
#endif
}

void run_workers(int workers, Interruption& interruption, const std::function<void(int)>& work) {
  std::mutex mutex;
  std::exception_ptr error;
  const auto guarded = [&](int worker) {
    try {
      work(worker);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      interruption.stop();
    }
  };
#if defined(EPSBALL_EXECUTOR_SERIAL)
  workers = 1;
#endif
  if (workers == 1) {
    guarded(0);
  } else if (interruption.crew) {
    interruption.crew->run(workers, interruption, guarded);
  } else {
    std::atomic<int> busy{workers - 1};
    const auto member = [&](int worker) {
      guarded(worker);
      if (worker != 0) {
        --busy;
        return;
      }
      wait_while([&] { return busy != 0; }, interruption);
    };
#if defined(EPSBALL_EXECUTOR_OPENMP)
#pragma omp parallel num_threads(workers)
    {
#pragma omp single
      busy = omp_get_num_threads() - 1;
      member(omp_get_thread_num());
    }
#else
    std::vector<std::thread> threads;
    for (int worker = 1; worker < workers; ++worker) threads.emplace_back(member, worker);
    member(0);
    for (std::thread& thread : threads) thread.join();
#endif
  }
  if (error) std::rethrow_exception(error);
  interruption.check();  // asked to stop while the last worker finished
}

void for_tasks(Index count, double operations, Interruption& interruption, const std::function<void(Index)>& task) {
  Tasks tasks(count);
  const Index threads = std::clamp<Index>(count, 1, threads_worth(operations));
  run_workers(static_cast<int>(threads), interruption, [&](int) {
    for (Index i; (i = tasks.next()) >= 0;) task(i);
  });
}

}  // namespace epsball
