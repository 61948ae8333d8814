// Training: gradients against central differences, the same bits for any threads, divergence, interruption, loading.
#include "training/trainer.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <numeric>

#include "calls.h"
#include "check.h"
#include "dispatch.h"
#include "models.h"

using namespace epsball;
using namespace epsball::test;

// Counts what arenas allocate; they are all that is aligned like this, beside packed weights.
static std::atomic<int> aligned_allocations{0};
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  ++aligned_allocations;
  const auto a = static_cast<std::size_t>(alignment);
  void* p = std::aligned_alloc(a, (bytes + a - 1) / a * a);
  if (!p) throw std::bad_alloc();
  return p;
}
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace {

struct Lesson {
  Index rows, features, classes;
  std::vector<float> x;
  std::vector<std::int32_t> y;
  std::vector<Index> order;

  Lesson(Index n, Index d, Index k) : rows(n), features(d), classes(k), x(uniform_floats(n * d, 31, 0, 1)), order(n) {
    // The class is where the input is largest among the first `classes` features: something to learn.
    for (Index i = 0; i < n; ++i) {
      const float* row = &x[i * d];
      y.push_back(static_cast<std::int32_t>(std::max_element(row, row + k) - row));
    }
    std::iota(order.rbegin(), order.rend(), Index{0});
  }
  TrainingData data() { return {{x.data(), DType::float32, rows, features}, y.data(), nullptr}; }
};

MethodSettings standard() { return {}; }

MethodSettings adversarial(float clean_weight) {
  MethodSettings m;
  m.parts = {{Source::attacked, 1.0f - clean_weight, 1.0f - clean_weight}};
  if (clean_weight > 0.0f) m.parts.insert(m.parts.begin(), {Source::clean, clean_weight, clean_weight});
  m.attack.steps = 3;
  m.attack.keep_best = m.attack.judge = false;
  m.eps = 0.05;
  m.step_size = 0.02f;
  m.start_radius = 0.05f;
  m.hi = 1.0;
  return m;
}

std::vector<float> all_parameters(const Model& model) {
  std::vector<float> all;
  for (const auto& layer : model.layers())
    for (const Parameter& p : layer->parameters) all.insert(all.end(), p.value.begin(), p.value.end());
  return all;
}

// Loss of each epoch.
std::vector<double> train(Model& model, Lesson& lesson, const MethodSettings& method, OptimizerSettings optimizer,
                          int epochs, Index batch, float rate) {
  Trainer trainer(model, optimizer, method);
  const std::vector<float> rates(static_cast<std::size_t>((lesson.rows + batch - 1) / batch), rate);
  std::vector<double> losses;
  for (int e = 0; e < epochs; ++e) {
    Interruption never({});
    const Epoch epoch{lesson.order.data(), lesson.rows, batch, rates.data(), nullptr, static_cast<std::uint64_t>(e)};
    losses.push_back(trainer.run(lesson.data(), epoch, never));
  }
  return losses;
}

OptimizerSettings momentum() {
  OptimizerSettings o;
  o.rule = Rule::sgd;
  o.momentum = 0.9f;
  o.nesterov = true;
  o.l2 = 1e-4f;
  o.l1 = 1e-5f;
  return o;
}

void test_learning() {
  for (const OptimizerSettings& optimizer : {OptimizerSettings{}, momentum()}) {
    Lesson lesson(300, 9, 3);
    Model model(mlp({9, 33, 3}));
    const std::vector<double> losses = train(model, lesson, standard(), optimizer, 15, 32, 0.01f);
    CHECK(losses.back() < 0.5 * losses.front());
    std::vector<std::int32_t> predicted(300);
    std::vector<float> judged(300);
    Interruption never({});
    call_logits({*model.plan(), model.arenas(), never}, lesson.data().x, nullptr, predicted.data(), judged.data());
    Index right = 0;
    for (std::size_t i = 0; i < predicted.size(); ++i) right += predicted[i] == lesson.y[i];
    CHECK(right > 240);
  }
}

void test_threads_and_slabs_change_nothing() {
  for (const float clean_weight : {1.0f, 0.5f, 0.0f}) {
    const auto run = [&](int threads, int slab, bool guarded) {
      set_threads(threads);
      set_slab_rows(slab);
      set_guards(guarded);
      Lesson lesson(130, 17, 5);
      Model model(mlp({17, 97, 33, 5}, Activation::elu, 0.2f));
      const auto method = clean_weight == 1.0f ? standard() : adversarial(clean_weight);
      train(model, lesson, method, {}, 2, 50, 0.01f);
      set_guards(false);
      set_slab_rows(0);
      set_threads(0);
      return all_parameters(model);
    };
    const std::vector<float> wanted = run(1, 0, false);
    CHECK(same_bits(run(2, 0, false), wanted));
    CHECK(same_bits(run(3, 7, false), wanted));
    CHECK(same_bits(run(2, 1, true), wanted));
  }
}

double mean_loss(Model& model, Lesson& lesson) {
  std::vector<float> loss(static_cast<std::size_t>(lesson.rows));
  Interruption never({});
  model.changed();
  call_loss({*model.plan(), model.arenas(), never}, lesson.data().x, {Loss::cross_entropy, lesson.y.data(), nullptr},
            loss.data(), nullptr);
  double total = 0;
  for (const float l : loss) total += static_cast<double>(l);
  return total / static_cast<double>(lesson.rows);
}

void test_gradients() {
  Lesson lesson(20, 5, 3);
  Model model(mlp({5, 7, 3}, Activation::tanh));
  Interruption never({});
  const auto gradients = Trainer(model, {}, standard()).gradients(lesson.data(), never);
  std::size_t next = 0;
  for (const auto& layer : model.layers())
    for (Parameter& p : layer->parameters) {
      const std::vector<float>& gradient = gradients[next++];
      bool near = true;
      for (std::size_t i = 0; i < p.value.size(); i += 3) {
        const float kept = p.value[i], h = 1.0f / 64;
        p.value[i] = kept + h;
        const double up = mean_loss(model, lesson);
        p.value[i] = kept - h;
        const double down = mean_loss(model, lesson);
        p.value[i] = kept;
        // Truncation h^2 / 6 times the third derivative, and the rounding of two losses over 2 h.
        near &= std::fabs((up - down) / (2 * static_cast<double>(h)) - static_cast<double>(gradient[i])) <= 2e-4;
      }
      CHECK(near);
    }
  CHECK(next == gradients.size());
}

void test_divergence() {
  Lesson lesson(40, 9, 3);
  Model model(mlp({9, 17, 3}));
  CHECK_THROWS(train(model, lesson, standard(), momentum(), 5, 10, 1e30f), Diverged);
  // The model still takes weights, and then works.
  Model fresh(mlp({9, 17, 3}));
  for (std::size_t l = 0; l < model.layers().size(); ++l)
    for (std::size_t p = 0; p < model.layers()[l]->parameters.size(); ++p)
      model.layers()[l]->parameters[p].value = fresh.layers()[l]->parameters[p].value;
  model.changed();
  train(model, lesson, standard(), {}, 1, 10, 0.01f);
  train(fresh, lesson, standard(), {}, 1, 10, 0.01f);
  CHECK(same_bits(all_parameters(model), all_parameters(fresh)));
}

void test_interruption() {
  Lesson lesson(40, 9, 3);
  Model model(mlp({9, 17, 3}));
  Trainer trainer(model, {}, standard());
  const std::vector<float> rates(4, 0.01f);
  Interruption stopped({});
  stopped.stop();
  const Epoch epoch{lesson.order.data(), lesson.rows, 10, rates.data(), nullptr, 0};
  CHECK_THROWS(trainer.run(lesson.data(), epoch, stopped), Interrupted);
  CHECK_THROWS(trainer.gradients(lesson.data(), stopped), Interrupted);
  Interruption never({});
  CHECK(std::isfinite(trainer.run(lesson.data(), epoch, never)));
}

// An interrupted call leaves its buffers to the next one.
void test_interruption_keeps_no_memory() {
  set_threads(1);
  Lesson lesson(40, 9, 3);
  Model model(mlp({9, 17, 3}));
  Trainer trainer(model, {}, standard());
  Interruption stopped({});
  stopped.stop();
  CHECK_THROWS(trainer.gradients(lesson.data(), stopped), Interrupted);
  const int before = aligned_allocations;
  CHECK(before > 0);
  for (int i = 0; i < 3; ++i) CHECK_THROWS(trainer.gradients(lesson.data(), stopped), Interrupted);
  CHECK(aligned_allocations == before);
  set_threads(0);
}

// Weights that are loaded between epochs are the ones trained on, and calls afterwards see the trained ones.
void test_loading_between_epochs() {
  const auto run = [](bool reload) {
    Lesson lesson(60, 9, 3);
    Model model(mlp({9, 17, 3}));
    Trainer trainer(model, {}, standard());
    const std::vector<float> rates(6, 0.01f);
    for (int e = 0; e < 2; ++e) {
      Interruption never({});
      trainer.run(lesson.data(), {lesson.order.data(), lesson.rows, 10, rates.data(), nullptr, 0}, never);
      if (!reload) continue;
      model.changed();  // as after load_parameters
      model.plan();     // as a call on the model makes one
    }
    const std::vector<float> weights = all_parameters(model);
    std::vector<float> before(180), after(180);
    Interruption never({});
    call_logits({*model.plan(), model.arenas(), never}, lesson.data().x, before.data(), nullptr, nullptr);
    model.changed();
    call_logits({*model.plan(), model.arenas(), never}, lesson.data().x, after.data(), nullptr, nullptr);
    CHECK(same_bits(before, after));
    return weights;
  };
  CHECK(same_bits(run(true), run(false)));
}

// While it is trained a model refuses calls from all threads but the trainer's own.
void test_closed_model() {
  Model model(mlp({9, 17, 3}));
  model.check_open();
  const auto held = model.plan();
  model.close();
  CHECK(model.plan() != held);  // the trainer does not write to a plan that a call may hold
  CHECK_THROWS(model.check_open(), std::runtime_error);
  CHECK_THROWS(model.close(), std::runtime_error);
  model.admit(true);
  model.check_open();
  std::thread other([&] { CHECK_THROWS(model.check_open(), std::runtime_error); });
  other.join();
  model.open();
  model.check_open();
}

}  // namespace

int main() {
  set_share_all(true);  // the lessons are small
  for (const Kernels* table : tables()) {
    choose_table(table->name);
    test_learning();
    test_threads_and_slabs_change_nothing();
    test_gradients();
  }
  test_divergence();
  test_interruption();
  test_interruption_keeps_no_memory();
  test_loading_between_epochs();
  test_closed_model();
  return finish();
}
