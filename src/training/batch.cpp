// Filling a batch, and the sums over its rows.
#include "training/batch.h"

#include <algorithm>

#include "rounding.h"

namespace epsball {

Batch::Batch(const Plan& plan, const MethodSettings& method, Arena& arena, Index capacity)
    : k(plan.kernels()),
      method(method),
      capacity(capacity),
      features(plan.features()),
      classes(plan.classes()),
      host_labels(static_cast<std::size_t>(capacity)),
      host_targets(static_cast<std::size_t>(capacity * classes)),
      host_weights(static_cast<std::size_t>(capacity)),
      host_loss(static_cast<std::size_t>(capacity)) {
  inputs = arena.take<float>((parts() + 1) * capacity * features);
  labels = arena.take<std::int32_t>(capacity);
  reference = arena.take<std::int32_t>(capacity);
  predicted = arena.take<std::int32_t>(parts() * capacity);
  targets = arena.take<float>(capacity * classes);
  reference_targets = arena.take<float>(capacity * classes);
  weights = arena.take<float>(capacity);
  loss = arena.take<float>(parts() * capacity);
  pair_losses = arena.take<float>(capacity);
  perturbation = arena.take<float>(method.inner == Inner::replay ? capacity * features : 0);
  if (method.inner == Inner::replay)
    k.fill(nullptr, perturbation, 0, capacity * features * static_cast<Index>(sizeof(float)));
  tape = plan.training_tape(arena, parts() * capacity);
  if (method.boxes()) ends.emplace(plan, arena, capacity);
  attack_in.judge = labels;
  eps = arena.take<double>(capacity);
  for (float** each : {&radius, &start_radius, &step_size}) *each = arena.take<float>(capacity);
  for (float** each : {&box_lo, &box_hi}) *each = arena.take<float>(features);
  spend(1.0f);
  refill(box_lo, features, float_above(method.lo));
  refill(box_hi, features, float_below(method.hi));
  attack_in.eps = eps;
  attack_in.radius = radius;
  attack_in.start_radius = start_radius;
  attack_in.step_size = step_size;
  attack_in.box_lo = box_lo;
  attack_in.box_hi = box_hi;
  attack_out.success = arena.take<std::uint8_t>(capacity);
  attack_out.queries = arena.take<std::int64_t>(capacity);
  attack_out.loss = arena.take<float>(capacity);
  attack_out.zero_gradient = arena.take<std::uint8_t>(capacity);
  attack_out.broken = arena.take<std::uint8_t>(capacity);
}

// Gives the attack this share of its eps and steps.
void Batch::spend(float given) {
  budget = given;
  const double share = static_cast<double>(budget), now = share * method.eps;
  refill(eps, capacity, now);
  refill(radius, capacity, float_below(now));
  refill(start_radius, capacity, float_below(share * static_cast<double>(method.start_radius)));
  refill(step_size, capacity, float_below(share * static_cast<double>(method.step_size)));
}

float* Batch::rows_from(Source source) const {
  Index part = 0;
  while (part < parts() && method.parts[static_cast<std::size_t>(part)].source != source) ++part;
  return inputs + part * rows * features;
}

template <class T>
void Batch::refill(T* to, Index count, T value) const {
  const std::vector<T> values(static_cast<std::size_t>(count), value);
  k.copy(nullptr, to, values.data(), count * static_cast<Index>(sizeof(T)));
}

void Batch::begin(const TrainingData& data, const Index* order, const Index* batch_ids, Index batch_rows) {
  ids = batch_ids;
  rows = method.paired_halves ? batch_rows / 2 : batch_rows;
  const Index count = drawn();
  for (Index i = 0; i < count; ++i) {
    host_labels[static_cast<std::size_t>(i)] = data.labels ? data.labels[order[i]] : 0;
    if (data.targets) std::copy_n(data.targets + order[i] * classes, classes, host_targets.data() + i * classes);
  }
  if (method.partly_unlabelled) weigh();
  k.copy(nullptr, labels, host_labels.data(), count * static_cast<Index>(sizeof(std::int32_t)));
  if (data.targets) k.copy(nullptr, targets, host_targets.data(), count * classes * static_cast<Index>(sizeof(float)));
  k.fill(nullptr, attack_out.queries, 0, count * static_cast<Index>(sizeof(std::int64_t)));
  attack_in.x = {rows_from(Source::clean), DType::float32, count, features};
  attack_in.labels = data.labels ? labels : nullptr;
  attack_in.targets = targets;
  if (method.reference == Reference::predictions) attack_in.labels = reference;
  if (method.reference == Reference::probabilities) {
    attack_in.labels = nullptr;
    attack_in.targets = reference_targets;
  }
  attack_in.ids = ids;
  attack_out.x_adv = {rows_from(Source::attacked), DType::float32, drawn(), features};
}

// The mean is over the rows that have a label; the others' labels become valid ones of no weight.
void Batch::weigh() {
  const auto end = host_labels.begin() + rows;
  const auto labelled = static_cast<float>(std::count_if(host_labels.begin(), end, [](auto y) { return y >= 0; }));
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i) {
    host_weights[i] = host_labels[i] < 0 ? 0.0f : static_cast<float>(rows) / labelled;
    host_labels[i] = std::max(host_labels[i], 0);
  }
  k.copy(nullptr, weights, host_weights.data(), rows * static_cast<Index>(sizeof(float)));
}

// The sum over the batch's rows of what the method reports.
double Batch::total_loss() {
  double total = 0.0;
  for (Index part = 0; part < method.with_losses(); ++part) {
    const float reported = method.parts[static_cast<std::size_t>(part)].reported * own_share();
    total += static_cast<double>(reported) * sum(loss + part * rows);
  }
  if (method.pair != PairLoss::none) total += static_cast<double>(pair_weight()) * sum(pair_losses);
  return total;
}

// The sum over the batch's rows of losses that lie with the table.
double Batch::sum(const float* losses) {
  k.copy(nullptr, host_loss.data(), losses, rows * static_cast<Index>(sizeof(float)));
  if (k.device) k.device->finish(nullptr);
  double total = 0.0;
  for (Index i = 0; i < rows; ++i) total += static_cast<double>(host_loss[static_cast<std::size_t>(i)]);
  return total;
}

}  // namespace epsball
