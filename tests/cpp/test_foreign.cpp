// Models outside the engine: what their owner computes goes through the loop as a plan's own passes do.
#include <limits>
#include <stdexcept>
#include <thread>

#include "attacks/pgd.h"
#include "calls.h"
#include "check.h"
#include "dispatch.h"
#include "foreign.h"
#include "models.h"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr Index kWhole = std::numeric_limits<Index>::max();

// One call for each pass of a plan, in rows without gaps.
class Lent : public ForeignCalls {
 public:
  Lent(const Plan& plan, std::vector<Index>& rows) : plan_(plan), rows_(rows) {}

  void forward(Index rows, const float* x, float* logits) override {
    CHECK(std::this_thread::get_id() == owner_);
    rows_.push_back(rows);
    rows_given_ = rows;
    x_.assign(x, x + rows * plan_.features());
    Interruption never({});
    call_logits({plan_, arenas_, never}, view(), logits, nullptr, nullptr);
  }
  void backward(Index rows, const float* dlogits, float* dx) override {
    CHECK(rows == rows_given_);
    const Index d = plan_.features(), k = plan_.classes();
    std::vector<float> jacobian(static_cast<std::size_t>(rows * k * d));
    Interruption never({});
    call_jacobian({plan_, arenas_, never}, view(), jacobian.data());
    for (Index r = 0; r < rows; ++r)
      for (Index i = 0; i < d; ++i) {
        double sum = 0;
        for (Index j = 0; j < k; ++j)
          sum += static_cast<double>(dlogits[r * k + j]) * jacobian[static_cast<std::size_t>((r * k + j) * d + i)];
        dx[r * d + i] = static_cast<float>(sum);
      }
  }

 private:
  Array view() { return {x_.data(), DType::float32, rows_given_, plan_.features()}; }

  const Plan& plan_;
  std::vector<Index>& rows_;
  const std::thread::id owner_ = std::this_thread::get_id();
  std::vector<float> x_;
  Index rows_given_ = 0;
  ArenaPool arenas_;
};

struct Case {
  Index features, classes, rows;
};

void test_calls_agree(const Case& c) {
  Model model(mlp({c.features, 19, c.classes}));
  const auto plan = model.plan();
  std::vector<Index> calls;
  Foreign foreign(plan->kernels(), c.features, c.classes, kWhole, [&] { return std::make_unique<Lent>(*plan, calls); });
  Guarded<float> x(uniform_floats(c.rows * c.features, 3, 0, 1));
  const Array in{x.data(), DType::float32, c.rows, c.features};
  const std::vector<std::int32_t> y = labels(c.rows, c.classes);
  Guarded<float> loss[2] = {Guarded<float>(c.rows), Guarded<float>(c.rows)};
  Guarded<float> gradient[2] = {Guarded<float>(c.rows * c.features), Guarded<float>(c.rows * c.features)};
  const Target* targets[2] = {plan.get(), &foreign};
  Interruption never({});
  for (int i = 0; i < 2; ++i)
    call_loss({*targets[i], foreign.arenas(), never}, in, {Loss::cross_entropy, y.data(), nullptr}, loss[i].data(),
              gradient[i].data());
  for (Index r = 0; r < c.rows; ++r) CHECK_NEAR(loss[0].data()[r], loss[1].data()[r], 1e-6);
  for (Index i = 0; i < c.rows * c.features; ++i) CHECK_NEAR(gradient[0].data()[i], gradient[1].data()[i], 1e-6);
  CHECK(calls == std::vector<Index>{c.rows});
}

void test_batches() {
  Model model(mlp({8, 6, 3}));
  const auto plan = model.plan();
  std::vector<Index> calls;
  Foreign foreign(plan->kernels(), 8, 3, 4, [&] { return std::make_unique<Lent>(*plan, calls); });
  std::vector<float> x = uniform_floats(11 * 8, 3, 0, 1), logits(33), wanted(33);
  const Array in{x.data(), DType::float32, 11, 8};
  Interruption never({});
  call_logits({foreign, foreign.arenas(), never}, in, logits.data(), nullptr, nullptr);
  call_logits({*plan, foreign.arenas(), never}, in, wanted.data(), nullptr, nullptr);
  CHECK((calls == std::vector<Index>{4, 4, 3}));
  CHECK(same_bits(logits, wanted));
}

struct Failing : ForeignCalls {
  void forward(Index, const float*, float*) override { throw std::domain_error("the owner's"); }
  void backward(Index, const float*, float*) override {}
};

void test_what_the_owner_throws_ends_the_call() {
  Foreign foreign(chosen_table(), 8, 3, kWhole, [] { return std::make_unique<Failing>(); });
  std::vector<float> x(80), logits(30);
  Interruption never({});
  const Array in{x.data(), DType::float32, 10, 8};
  CHECK_THROWS(call_logits({foreign, foreign.arenas(), never}, in, logits.data(), nullptr, nullptr), std::domain_error);
}

}  // namespace

int main() {
  set_guards(true);
  for (const Kernels* table : tables()) {
    choose_table(table->name);
    for (const Case& c : {Case{1, 1, 1}, {3, 2, 5}, {16, 16, 7}, {17, 5, 33}, {33, 10, 2}}) test_calls_agree(c);
    test_batches();
  }
  test_what_the_owner_throws_ends_the_call();
  return finish();
}
