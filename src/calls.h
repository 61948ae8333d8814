// The plain calls on a model: logits, predictions, losses, input gradients, Jacobians.
#pragma once

#include "slabs.h"

namespace epsball {

// Labels (rows), or soft targets (rows, classes) where labels is null.
struct Labels {
  Loss loss = Loss::cross_entropy;
  const std::int32_t* labels = nullptr;
  const float* targets = nullptr;
};

struct Caller {
  const Target& target;
  ArenaPool& arenas;
  Interruption& interruption;
};

// logits is (rows, classes); predicted and judged, which is NaN where a logit is not finite, are (rows). Either logits
// or both of the others may be null.
void call_logits(const Caller&, const Array& x, float* logits, std::int32_t* predicted, float* judged);
// Both (rows, classes): the logits, and their softmax (one class: the sigmoid), or of log confidences exp of each.
void call_probabilities(const Caller&, const Array& x, bool log_confidences, float* logits, float* p);
// loss is (rows); gradient, if not null, (rows, features): of each row's own loss.
void call_loss(const Caller&, const Array& x, const Labels&, float* loss, float* gradient);
// jacobian is (rows, classes, features).
void call_jacobian(const Caller&, const Array& x, float* jacobian);

}  // namespace epsball
