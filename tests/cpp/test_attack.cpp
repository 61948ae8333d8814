// The attack loop on small models: the same bits for any threads, slabs and company, early stop, concurrent calls.
#include <algorithm>

#include "check.h"
#include "dispatch.h"
#include "pgd_task.h"

using namespace epsball;
using namespace epsball::test;

namespace {

bool same_row(const Found& a, Index i, const Found& b, Index j, Index features) {
  return same_bits(&a.x_adv[i * features], &b.x_adv[j * features], features) && same_bits(&a.loss[i], &b.loss[j], 1) &&
         a.success[i] == b.success[j] && a.queries[i] == b.queries[j] && a.distance[i] == b.distance[j];
}

// Threads, slab sizes and guards change nothing.
void test_any_division_gives_the_same_bits(const Task& task) {
  set_threads(1);
  const Found wanted = task.run();
  struct Division {
    int threads, slab;
  };
  for (const Division d : {Division{2, 0}, Division{1, 1}, Division{3, 5}, Division{2, 64}}) {
    set_threads(d.threads);
    set_slab_rows(d.slab);
    set_guards(d.slab == 5);
    CHECK(task.run() == wanted);
  }
  set_guards(false);
  set_slab_rows(0);
  set_threads(2);
  for (const Index row : {Index{0}, task.rows / 2, task.rows - 1})
    CHECK(same_row(task.run(row, 1), 0, wanted, row, task.model.features()));
  set_threads(0);
}

void test_bound(const Task& task, const Found& found) {
  bool within = true, judged = true;
  for (const double d : found.distance) within &= d <= task.eps;
  for (const float v : found.x_adv) within &= v >= 0.0f && v <= 1.0f;
  for (const std::uint8_t b : found.broken) judged &= b == 0;
  CHECK(within);
  CHECK(judged);
}

void test_norms_and_starts() {
  Model model(mlp({20, 33, 10}, Activation::relu));
  for (const Norm norm : {Norm::linf, Norm::l2, Norm::l1})
    for (const int restarts : {1, 3})
      for (const bool early : {false, true}) {
        Task task(model, 150);
        task.settings.norm = norm;
        task.settings.restarts = restarts;
        task.settings.early_stop = early;
        task.eps = norm == Norm::linf ? 0.1 : norm == Norm::l2 ? 0.4 : 1.5;
        test_any_division_gives_the_same_bits(task);
        test_bound(task, task.run());
      }
}

// Layers wide enough for a team to share a single row's products.
void test_team_on_a_single_row() {
  for (const Activation activation : {Activation::relu, Activation::gelu}) {
    Model model(mlp({97, 700, 300, 10}, activation));
    Task task(model, 1);
    task.settings.steps = 20;
    test_any_division_gives_the_same_bits(task);
  }
}

void test_early_stop() {
  Model model(mlp({20, 33, 10}));
  Task task(model, 150);
  task.settings.restarts = 2;
  const Found full = task.run();
  task.settings.early_stop = true;
  const Found stopped = task.run();
  CHECK(full.success == stopped.success);
  Index left_early = 0, stayed = 0;
  const std::int64_t all = 2 * (task.settings.steps + 1);
  bool fewer = true, same = true;
  for (Index i = 0; i < task.rows; ++i) {
    fewer &= full.queries[i] == all && stopped.queries[i] <= all;
    if (stopped.success[i]) {
      ++left_early;
      fewer &= stopped.queries[i] < all;
    } else {
      ++stayed;
      same &= same_row(full, i, stopped, i, 20);
    }
  }
  CHECK(fewer);
  CHECK(same);
  CHECK(left_early > 10 && stayed > 10);  // else the test looks at nothing
}

void test_concurrent_calls() {
  Model model(mlp({20, 33, 10}));
  Task task(model, 150);
  const Found wanted = task.run();
  set_threads(2);
  std::atomic<int> same{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i)
    callers.emplace_back([&] {
      for (int turn = 0; turn < 3; ++turn) same += task.run() == wanted;
    });
  for (std::thread& c : callers) c.join();
  set_threads(0);
  CHECK(same == 12);
}

// The first calls of a model make its plan, all at once.
void test_concurrent_first_calls() {
  for (int turn = 0; turn < 5; ++turn) {
    Model model(mlp({20, 33, 10}));
    Task task(model, 7);
    std::vector<Found> found(4);
    std::vector<std::thread> callers;
    for (Found& f : found) callers.emplace_back([&] { f = task.run(); });
    for (std::thread& c : callers) c.join();
    for (const Found& f : found) CHECK(f == found[0]);
  }
}

void test_interruption() {
  Model model(mlp({20, 33, 10}));
  Task task(model, 150);
  Interruption stopped([] { return true; });
  stopped.stop();
  std::vector<float> out(static_cast<std::size_t>(task.rows * 20));
  for_slabs({model.plan()->kernels(), model.arenas(), stopped, 0, 1, 0, 0}, [](Worker&) { CHECK(false); });
  CHECK_THROWS(for_slabs({model.plan()->kernels(), model.arenas(), stopped, task.rows, 20, 1e9, 0},
                         [](Worker& w) {
                           for (Index first, rows; w.next(first, rows);) CHECK(false);
                         }),
               Interrupted);
  // The arenas of the interrupted call serve the next one.
  CHECK(task.run() == task.run());
}

// A kernel that writes past a buffer is found by the guards.
void test_guards_notice_a_stray_write() {
  set_guards(true);
  Arena arena(chosen_table());
  float* a = arena.take<float>(5);
  a[4] = 1.0f;
  arena.check();
  auto* bytes = reinterpret_cast<unsigned char*>(a);
  bytes[5 * sizeof(float)] = 0;
  CHECK_THROWS(arena.check(), std::logic_error);
  arena.reset();
  arena.take<float>(3);
  arena.check();
  set_guards(false);
}

}  // namespace

int main() {
  set_share_all(true);  // the tasks are small
  for (const Kernels* table : tables()) {
    choose_table(table->name);
    test_norms_and_starts();
    test_team_on_a_single_row();
    test_early_stop();
  }
  test_concurrent_calls();
  test_concurrent_first_calls();
  test_interruption();
  test_guards_notice_a_stray_write();
  return finish();
}
