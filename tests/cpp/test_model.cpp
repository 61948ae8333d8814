// Parameters in and out while other threads do the same: ThreadSanitizer watches, and no reader sees a mixture.
#include "model.h"

#include <thread>

#include "attacks/linear_exact.h"
#include "check.h"
#include "dispatch.h"
#include "models.h"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr Index kFeatures = 100, kClasses = 3, kRows = 2;

// Whether every parameter is `value` throughout, as load_all left them.
bool all_are(const ParameterValues& values, float value) {
  bool same = true;
  for (const auto& parameter : values)
    for (const float v : parameter) same &= v == value;
  return same;
}

void load_all(Model& model, float value) {
  const std::vector<float> weight(kFeatures * kClasses, value), bias(kClasses, value);
  model.load({weight.data(), bias.data()});
}

// The margins of rows of zeros: as classes are alike, they are 0 for every state, and not for a mixture of two.
void attack(Model& model, float* x_adv, double* margin) {
  const std::vector<float> x(kRows * kFeatures), lo(kFeatures, -INFINITY), hi(kFeatures, INFINITY);
  const std::vector<std::int32_t> y(kRows, 1);
  const std::vector<double> eps(kRows, 0.5);
  std::vector<double> distance(kRows);
  LinearExactInputs in;
  in.x = {const_cast<float*>(x.data()), DType::float32, kRows, kFeatures};
  in.labels = y.data();
  in.eps = eps.data();
  in.box_lo = lo.data();
  in.box_hi = hi.data();
  Interruption never({});
  const auto plan = model.plan();
  const ParameterValues parameters = model.values();
  linear_exact(*plan, parameters, model.arenas(), in,
               {{x_adv, DType::float32, kRows, kFeatures}, distance.data(), margin}, never);
}

void test_loading_beside_reading() {
  Model model(mlp({kFeatures, kClasses}));
  load_all(model, 1.0f);
  std::atomic<bool> done{false};
  std::thread loader([&] {
    while (!done)
      for (const float value : {1.0f, 2.0f}) load_all(model, value);
  });
  for (int i = 0; i < 300; ++i) {
    const ParameterValues values = model.values();
    CHECK(all_are(values, 1.0f) || all_are(values, 2.0f));
    std::vector<float> x_adv(kRows * kFeatures);
    std::vector<double> margin(kRows, 1.0);
    attack(model, x_adv.data(), margin.data());
    CHECK(margin[0] == 0.0 && margin[1] == 0.0);
  }
  done = true;
  loader.join();
}

void test_closed_model_keeps_its_parameters() {
  Model model(mlp({kFeatures, kClasses}));
  load_all(model, 1.0f);
  model.close();
  CHECK_THROWS(load_all(model, 2.0f), std::runtime_error);
  CHECK_THROWS(model.values(), std::runtime_error);
  model.open();
  CHECK(all_are(model.values(), 1.0f));
}

}  // namespace

int main() {
  test_loading_beside_reading();
  test_closed_model_keeps_its_parameters();
  return finish();
}
