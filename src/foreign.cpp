// Passes through a model outside the engine: rows gathered for the owner's calls and spread again.
#include "foreign.h"

namespace epsball {
namespace {

// (rows, features) without gaps.
struct Dense {
  Index features = 0;
  float* data = nullptr;

  Dense(Arena& arena, Index rows, Index features) : features(features), data(arena.take<float>(rows * features)) {}
};

class ForeignPass : public Pass {
 public:
  ForeignPass(const Foreign& model, std::unique_ptr<ForeignCalls> calls, const Context& context, Arena& arena,
              Index rows)
      : context_(context),
        calls_(std::move(calls)),
        x_(arena, rows, model.features()),
        dense_logits_(arena, rows, model.classes()),
        logits_(arena.take_rows(rows, model.classes())),
        dlogits_(arena.take_rows(rows, model.classes())) {}

  Rows forward(Index rows, Rows x) override {
    gather(rows, x, x_);
    calls_->forward(rows, x_.data, dense_logits_.data);
    spread(rows, dense_logits_, logits_);
    return logits_;
  }

  Rows dlogits() override { return dlogits_; }

  // x_ and dense_logits_ hold the gradients on the way back.
  void backward(Index rows, Rows /*x*/, Rows dx, const SignStep* step) override {
    gather(rows, dlogits_, dense_logits_);
    calls_->backward(rows, dense_logits_.data, x_.data);
    spread(rows, x_, dx);
    Epilogue end;
    end.step = step;
    finish_backward(context_, rows, x_.features, dx, end);
  }

 private:
  void gather(Index rows, Rows from, const Dense& to) const {
    const Index n = to.features;
    context_.kernels.copy_rows(context_.stream, rows, n, from.data, from.ld, to.data, n, nullptr, nullptr);
  }
  void spread(Index rows, const Dense& from, Rows to) const {
    const Index n = from.features;
    context_.kernels.copy_rows(context_.stream, rows, n, from.data, n, to.data, to.ld, nullptr, nullptr);
  }

  const Context context_;
  const std::unique_ptr<ForeignCalls> calls_;
  const Dense x_, dense_logits_;
  const Rows logits_, dlogits_;
};

}  // namespace

std::unique_ptr<Pass> Foreign::open(const Context& context, Arena& arena, Index rows) const {
  return std::make_unique<ForeignPass>(*this, open_(), context, arena, rows);
}

}  // namespace epsball
