// Threads: workers, interruption, exceptions, and teams that share one product.
#include "executor.h"

#include <cstring>
#include <set>
#include <vector>

#include "check.h"
#include "dispatch.h"

using namespace epsball;
using namespace epsball::test;

namespace {

const bool kSerial = std::strcmp(executor_name(), "serial") == 0;

void sleep_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

void test_every_task_is_done_once() {
  constexpr int kTasks = 1000;
  std::vector<std::atomic<int>> done(kTasks);
  std::atomic<int> workers{0};
  Interruption never({});
  Tasks tasks(kTasks);
  run_workers(3, never, [&](int) {
    ++workers;
    for (Index i; (i = tasks.next()) >= 0;) ++done[static_cast<std::size_t>(i)];
  });
  bool once = true;
  for (const auto& d : done) once &= d == 1;
  CHECK(once);
  CHECK(workers == (kSerial ? 1 : 3));
  CHECK(tasks.next() == -1);
}

// What workers wrote can be read by the caller without further ado.
void test_results_are_seen_by_the_caller() {
  for (int turn = 0; turn < 50; ++turn) {
    std::vector<int> result(64, 0);
    Interruption never({});
    Tasks tasks(64);
    run_workers(4, never, [&](int) {
      for (Index i; (i = tasks.next()) >= 0;) result[static_cast<std::size_t>(i)] = static_cast<int>(i) + turn;
    });
    bool same = true;
    for (int i = 0; i < 64; ++i) same &= result[static_cast<std::size_t>(i)] == i + turn;
    CHECK(same);
  }
}

void test_poll_stops_every_worker() {
  std::atomic<int> polls{0};
  Interruption after_two([&] { return ++polls >= 2; });
  CHECK_THROWS(run_workers(3, after_two,
                           [&](int) {
                             for (;;) after_two.check();
                           }),
               Interrupted);
  CHECK(polls == 2);
}

// The calling thread goes on polling when it has nothing left to do itself.
void test_idle_caller_goes_on_polling() {
  if (kSerial) return;
  Interruption soon([] { return true; });
  CHECK_THROWS(run_workers(2, soon,
                           [&](int worker) {
                             while (worker != 0) soon.check();
                           }),
               Interrupted);
}

void test_poll_is_called_by_the_caller_only_and_not_too_often() {
  const auto caller = std::this_thread::get_id();
  std::atomic<int> polls{0}, foreign{0};
  Interruption counting([&] {
    ++polls;
    foreign += std::this_thread::get_id() != caller;
    return false;
  });
  const auto start = std::chrono::steady_clock::now();
  run_workers(3, counting, [&](int) {
    for (int i = 0; i < 300; ++i) {
      counting.check();
      sleep_ms(1);
    }
  });
  const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
  CHECK(foreign == 0);
  CHECK(polls >= 1 && polls <= taken.count() / 50 + 1);
}

void test_first_exception_reaches_the_caller() {
  for (const int thrower : {0, 1}) {
    Interruption never({});
    const auto throwing = [&] {
      run_workers(3, never, [&](int worker) {
        if (worker == (kSerial ? 0 : thrower)) throw std::length_error("planted");
        for (;;) never.check();
      });
    };
    CHECK_THROWS(throwing(), std::length_error);
  }
}

void test_team_runs_every_part_once() {
  constexpr int kSize = 3, kTurns = 2000;
  Team team(kSize);
  std::vector<std::thread> members;
  for (int i = 1; i < kSize; ++i) members.emplace_back([&, i] { team.serve(i); });
  std::vector<int> input(kSize), output(kSize);  // plain: a turn's writes are seen by all, its results by the leader
  int wrong = 0;
  for (int turn = 0; turn < kTurns; ++turn) {
    for (int i = 0; i < kSize; ++i) input[static_cast<std::size_t>(i)] = turn + i;
    team.split([&](int part) {
      const auto p = static_cast<std::size_t>(part);
      output[p] += 2 * input[p];
    });
    for (int i = 0; i < kSize; ++i) {
      wrong += output[static_cast<std::size_t>(i)] != 2 * (turn + i);
      output[static_cast<std::size_t>(i)] = 0;
    }
    if (turn % 500 == 499) sleep_ms(5);  // members go from spinning to yielding
  }
  CHECK(wrong == 0);
  team.dismiss();
  for (std::thread& m : members) m.join();
}

// A leader whose team never came does everything alone.
void test_team_without_members() {
  Team team(4);
  std::set<int> parts;
  team.split([&](int part) { parts.insert(part); });
  CHECK(parts == std::set<int>({0, 1, 2, 3}));
  team.dismiss();
  team.serve(1);  // returns at once
}

// Phases after one another, each reading what the one before wrote; members are awake at some and asleep at others.
void test_crew_does_every_task_of_every_phase_once() {
  constexpr Index kTasks = 40, kPhases = 1000;
  std::vector<int> values(kTasks, 0);  // plain: a phase's writes are seen by all of the next
  Interruption never({});
  std::atomic<int> wrong{0};
  with_crew(3, never, [&] {
    for (int phase = 0; phase < kPhases; ++phase) {
      Tasks tasks(kTasks);
      run_workers(phase % 3 + 1, never, [&](int worker) {
        if (worker > phase % 3) ++wrong;
        for (Index i; (i = tasks.next()) >= 0;) ++values[static_cast<std::size_t>(kTasks - 1 - i)];
      });
      for (const int value : values) wrong += value != phase + 1;
      if (phase % 250 == 249) sleep_ms(2);
    }
  });
  CHECK(wrong == 0);
  CHECK(never.crew == nullptr);
}

void test_crew_members_take_part() {
  std::atomic<int> inside{0};
  Interruption never({});
  with_crew(3, never, [&] {
    run_workers(3, never, [&](int) {
      ++inside;
      while (inside < (kSerial ? 1 : 3)) never.check();
    });
  });
  CHECK(inside == (kSerial ? 1 : 3));
}

void test_crew_whose_members_never_come_waits_for_nobody() {
  Crew crew;
  Interruption never({});
  std::set<int> workers;
  crew.run(4, never, [&](int worker) { workers.insert(worker); });
  CHECK(workers == std::set<int>({0}));
  crew.dismiss();
  crew.serve();  // returns at once
}

void test_exceptions_end_a_crews_call() {
  for (const bool member : {false, true}) {
    Interruption never({});
    const auto throwing = [&] {
      with_crew(3, never, [&] {
        run_workers(3, never, [&](int worker) {
          if ((worker > 0) == (member && !kSerial)) throw std::length_error("planted");
          for (;;) never.check();
        });
      });
    };
    CHECK_THROWS(throwing(), std::length_error);
    CHECK(never.crew == nullptr);
  }
}

void test_settings() {
  const int before = set_threads(3);
  CHECK(available_threads() == 3);
  CHECK(threads_worth(0.0) == 1 && threads_worth(1e6) == 1 && threads_worth(4.1e6) == 2 && threads_worth(1e300) == 3);
  set_share_all(true);
  CHECK(threads_worth(0.0) == 3);
  set_share_all(false);
  CHECK(set_threads(before) == 3);
  CHECK(available_threads() >= 1);
  CHECK_THROWS(choose_table("vax"), std::invalid_argument);
  for (const Kernels* table : tables()) {
    choose_table(table->name);
    CHECK(&chosen_table() == table);
  }
}

}  // namespace

int main() {
  test_every_task_is_done_once();
  test_results_are_seen_by_the_caller();
  test_poll_stops_every_worker();
  test_idle_caller_goes_on_polling();
  test_poll_is_called_by_the_caller_only_and_not_too_often();
  test_first_exception_reaches_the_caller();
  test_team_runs_every_part_once();
  test_team_without_members();
  test_crew_does_every_task_of_every_phase_once();
  test_crew_members_take_part();
  test_crew_whose_members_never_come_waits_for_nobody();
  test_exceptions_end_a_crews_call();
  test_settings();
  return finish();
}
