// Forward passes, and losses without a step.
#include "training/evaluator.h"

namespace epsball {

float* filled(const Kernels& kernels, Worker& worker, Index count, float value) {
  const std::vector<float> values(static_cast<std::size_t>(count), value);
  float* const to = worker.arena.take<float>(count);
  kernels.copy(worker.context.stream, to, values.data(), count * static_cast<Index>(sizeof(float)));
  return to;
}

Evaluator::Evaluator(const Target& target, Worker& worker)
    : k_(target.kernels()),
      stream_(worker.context.stream),
      pass_(target.open(worker.context, worker.arena, worker.slab_rows)),
      classes_(target.classes()),
      loss_(worker.arena.take<float>(worker.slab_rows)),
      predicted_(worker.arena.take<std::int32_t>(worker.slab_rows)) {}

LossRows Evaluator::loss_rows(Index rows, Rows logits) const {
  LossRows a;
  a.rows = rows;
  a.classes = classes_;
  a.logits = logits.data;
  a.ld = logits.ld;
  a.loss = loss_;
  a.predicted = predicted_;
  return a;
}

// The prediction comes with any loss; the labels do not matter.
void Evaluator::predict(Index rows, Rows x, std::int32_t* labels) {
  LossRows a = loss_rows(rows, pass_->forward(rows, x));
  a.predicted = labels;
  a.labels = predicted_;
  k_.fill(stream_, predicted_, 0, rows * static_cast<Index>(sizeof(std::int32_t)));
  k_.loss(stream_, a);
}

void Evaluator::probabilities(Index rows, Rows x, float* p) {
  const Rows logits = pass_->forward(rows, x);
  k_.softmax(stream_, rows, classes_, logits.data, logits.ld, p, classes_);
}

void Evaluator::gradient(Index rows, Rows x, Loss loss, const std::int32_t* labels, const float* targets, bool unit,
                         Rows dx) {
  LossRows a = loss_rows(rows, pass_->forward(rows, x));
  a.kind = loss;
  a.labels = labels;
  a.targets = targets;
  a.targets_ld = classes_;
  a.unit = unit;
  a.dlogits = pass_->dlogits().data;
  a.dlogits_ld = pass_->dlogits().ld;
  k_.loss(stream_, a);
  pass_->backward(rows, x, dx, nullptr);
}

}  // namespace epsball
