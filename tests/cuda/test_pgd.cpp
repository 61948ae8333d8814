// A run of PGD in one launch on an emulated GPU: the bits of its steps one by one, whatever the model and the options.
#include "launch.cuh"

#include "attacks/pgd_rows.h"
#include "check.h"
#include "pgd_task.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

int whole_runs = 0;  // that the table took

bool counted(Stream stream, const PgdRows& a) {
  const bool taken = cuda::table().pgd(stream, a);
  whole_runs += taken;
  return taken;
}

const Kernels& with(bool (*pgd)(Stream, const PgdRows&), Kernels& table) {
  table = cuda::table();
  table.pgd = pgd;
  return table;
}

const Kernels& whole() {
  static Kernels table;
  static const Kernels& filled = with(counted, table);
  return filled;
}

const Kernels& step_by_step() {
  static Kernels table;
  static const Kernels& filled = with(nullptr, table);
  return filled;
}

// How many runs were one launch.
int test_same_bits(const Task& task) {
  whole_runs = 0;
  task.model.place(&step_by_step());
  const Found wanted = task.run();
  CHECK(whole_runs == 0);
  task.model.place(&whole());
  CHECK(task.run() == wanted);
  const int taken = whole_runs;
  for (const float x : wanted.x_adv) CHECK(x >= 0.0f && x <= 1.0f);
  return taken;
}

void test_sizes() {
  for (const Index features : {1, 7, 33, 65})
    for (const Index rows : {1, 7, 8, 9, 19}) {
      Model model(mlp({features, 5}));  // few outputs: dots
      CHECK(test_same_bits(Task(model, rows)) == 1);
    }
  for (const std::vector<Index>& widths : {std::vector<Index>{20, 17}, {20, 33, 10}, {9, 16, 17, 3, 40}, {5, 270, 2}}) {
    Model model(mlp(widths));
    CHECK(test_same_bits(Task(model, 11)) == 1);
  }
}

void test_activations() {
  using enum Activation;
  for (const Activation a : {leaky_relu, elu, sigmoid, tanh, softplus, exp}) {
    Layers layers = mlp({12, 19, 4}, a);
    layers.push_back(std::make_unique<ActivationLayer>(4, ActivationSpec{a, 0.5f}));  // of the logits too
    Model model(std::move(layers));
    CHECK(test_same_bits(Task(model, 9)) == 1);
  }
  for (const Activation a : {gelu, quadratic, power}) {  // whose derivatives need the input
    Model model(mlp({12, 19, 4}, a));
    CHECK(test_same_bits(Task(model, 9)) == 0);
  }
}

void test_losses() {
  Model model(mlp({20, 18, 5}));
  for (int loss = 0; loss <= static_cast<int>(Loss::dlr); ++loss)
    for (const bool targeted : {false, true}) {
      Task task(model, 10);
      task.settings.loss = static_cast<Loss>(loss);
      task.settings.targeted = task.settings.descend = targeted;
      CHECK(test_same_bits(task) == 1);
    }
  Model logistic(mlp({20, 1}));
  for (std::int32_t y = 0; y < 2; ++y) {
    Task task(logistic, 10);
    task.y.assign(10, y);
    CHECK(test_same_bits(task) == 1);
  }
}

void test_runs() {
  Model model(mlp({20, 18, 5}));
  for (const bool early : {false, true})
    for (const double eps : {0.02, 0.2}) {  // few rows are solved, and most
      Task task(model, 21);
      task.eps = eps;
      task.settings.early_stop = early;
      task.settings.restarts = 3;
      CHECK(test_same_bits(task) == 3);
      task.settings.restarts = 2;
      task.settings.targets = 2;  // the first run has cost one pass more
      CHECK(test_same_bits(task) == 4);
    }
  for (const bool judge : {false, true})
    for (const int steps : {0, 1, 3}) {
      Task task(model, 10);
      task.settings.keep_best = false;
      task.settings.random_start = false;
      task.settings.judge = judge;
      task.settings.steps = steps;
      CHECK(test_same_bits(task) == 1);
    }
}

void test_what_does_not_fit_goes_step_by_step() {
  Model wide(mlp({3100, 2})), deep(mlp(std::vector<Index>(10, 3)));
  CHECK(test_same_bits(Task(wide, 1)) == 0);
  CHECK(test_same_bits(Task(deep, 3)) == 0);
  Model small(mlp({3, 2}));
  CHECK(test_same_bits(Task(small, 512)) == 1);
  CHECK(test_same_bits(Task(small, 513)) == 0);
  Task other(small, 5);
  other.settings.adam = true;
  CHECK(test_same_bits(other) == 0);
  for (const Norm norm : {Norm::l2, Norm::l1}) {
    Task task(small, 5);
    task.settings.norm = norm;
    CHECK(test_same_bits(task) == 0);
  }
}

// As they are where factors are rounded.
void test_lower_precisions_have_none() {
  CHECK(!cuda::table(cuda::Precision::tf32).pgd && !cuda::table(cuda::Precision::bf16).pgd);
}

}  // namespace

int main() {
  test_sizes();
  test_activations();
  test_losses();
  test_runs();
  test_what_does_not_fit_goes_step_by_step();
  test_lower_precisions_have_none();
  return finish();
}
