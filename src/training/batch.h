// The memory of one training batch: rows, labels and what passes through the model leave of them.
#pragma once

#include <optional>

#include "intervals.h"
#include "training/method.h"

namespace epsball {

struct TrainingData {
  Array x;
  const std::int32_t* labels = nullptr;
  const float* targets = nullptr;  // (rows, classes) where labels is null
};

// The rows trained on stand in one matrix, part after part, and behind them the clean ones if they are no part.
struct Batch {
  Batch(const Plan& plan, const MethodSettings& method, Arena& arena, Index capacity);
  // `order` are the rows' ids, and `ids` the same in memory of the table.
  void begin(const TrainingData& data, const Index* order, const Index* ids, Index rows);
  void spend(float given);
  double total_loss();

 private:
  template <class T>
  void refill(T* to, Index count, T value) const;
  void weigh();
  double sum(const float* losses);

 public:
  const Kernels& k;
  const MethodSettings& method;
  const Index capacity, features, classes;
  float* inputs;  // rows are not padded: the attack reads and writes them as a caller's array
  std::int32_t *labels, *predicted;
  std::int32_t* reference;  // labels that the attack moves away from
  float *targets, *reference_targets, *weights, *loss, *pair_losses, *perturbation;
  Tape tape;
  std::optional<EndsTape> ends;  // of boxes
  std::vector<std::int32_t> host_labels;
  std::vector<float> host_targets, host_weights, host_loss;
  double* eps;
  float *radius, *start_radius, *step_size, *box_lo, *box_hi;
  AttackInputs attack_in;
  AttackOutputs attack_out;

  // The batch at hand.
  Index rows = 0;  // of each part
  const Index* ids = nullptr;
  float budget = 1.0f;  // share of the attack's eps and steps
  std::shared_ptr<Plan> attacked_plan;

  Index parts() const { return static_cast<Index>(method.parts.size()); }
  float pair_weight() const { return method.ramps_pair_weight ? method.pair_weight * budget : method.pair_weight; }
  float own_share() const { return method.ramps_pair_weight ? 1.0f - pair_weight() : 1.0f; }
  Index drawn() const { return method.paired_halves ? 2 * rows : rows; }  // rows of the data
  // Where the first part from this source stands, or behind all.
  float* rows_from(Source source) const;
  // The first row of the data that a part holds, its others following.
  Index offset(Index part) const { return method.paired_halves ? part * rows : 0; }
  Rows input_of(const Lowered& l) const { return l.inputs.empty() ? Rows{inputs, features} : tape.out[l.inputs[0].of]; }
};

}  // namespace epsball
