// Training steps: attack, passes and parameter gradients of a batch, then the optimiser's update.
#pragma once

#include "training/batch.h"

namespace epsball {

enum class Rule : int { sgd, adam };

struct OptimizerSettings {
  Rule rule = Rule::adam;
  float momentum = 0.0f;
  bool nesterov = false;
  float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f;
  float l2 = 0.0f, l1 = 0.0f, decay = 0.0f;  // of Update
  float clip_norm = 0.0f;                    // longest gradient, over all parameters together; 0: any
  float max_norm = 0.0f;                     // longest weight vector of a unit; 0: any
  float average = 0.0f;                      // share of the weights' moving average kept by an update; 0: none is made
};

// One pass over `count` rows in the given order.
struct Epoch {
  const Index* order = nullptr;
  Index count = 0, batch_size = 0;
  const float* rates = nullptr;    // learning rate of each batch
  const float* budgets = nullptr;  // factor on the attack's eps and steps in each batch; null: 1
  std::uint64_t seed = 0;          // of dropout and random starts
};

// A loss that is not finite; the message names the batch and the norms.
struct Diverged : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Trainer {
 public:
  Trainer(Model& model, const OptimizerSettings& optimizer, const MethodSettings& method);
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // Trains through one epoch; returns its mean training loss. Throws Diverged.
  double run(const TrainingData& data, const Epoch& epoch, Interruption& interruption);

  // The mean gradient over all rows, per parameter in layer order; nothing is updated.
  ParameterValues gradients(const TrainingData& data, Interruption& interruption);

  // What a checkpoint holds beside the parameters: the moments, first then second ones, then the averages if any are
  // made, per parameter each; and the number of updates made.
  ParameterValues moments() const;
  ParameterValues averages() const;  // of the weights; empty where none are made
  void load_moments(const ParameterValues& moments, Index updates);
  Index updates() const { return updates_; }

 private:
  enum class Mode : bool { training, inference };  // inference: no dropout, running statistics

  double train(const TrainingData& data, const Epoch& epoch, Interruption& interruption);
  struct Step;
  Step step(const TrainingData& data, Batch& batch, Mode mode, std::uint64_t seed, Interruption& interruption) const;
  double passes_of_row() const;
  double attack_passes() const;
  std::shared_ptr<Plan> attacked_plan(std::uint64_t seed, Index batch) const;
  template <class F>
  void for_parts(const Step& step, const Worker& worker, Index first, F f) const;
  void pass_up(const Step& step, std::size_t stop) const;
  void pass_down(const Step& step, std::size_t stop) const;
  double passes(const TrainingData& data, Batch& batch, Mode mode, std::uint64_t seed, Interruption& interruption);
  void loss(const TrainingData& data, Batch& batch, Index part, Index first, Index rows) const;
  void pair_loss(const TrainingData& data, Batch& batch, Index first, Index rows) const;
  void gather_forward(const Batch& batch, Mode mode, std::size_t layer) const;
  void gather_backward(const Batch& batch, std::size_t layer);
  void keep_statistics(const Batch& batch) const;
  void parameter_gradients(const Batch& batch, Interruption& interruption);
  void add_gradients_of_radii() const;
  double norm_of(const Values& values) const;
  float clip_factor() const;
  Diverged diverged(Index batch) const;
  Values weights() const;
  void constrain(const Parameter& parameter, float* value) const;
  void update(float rate, Interruption& interruption);
  // What so much work is to the executor: on a device one thread fills the queue.
  double operations(double work) const { return k_.device ? 0.0 : work; }
  void copy_out(const Values& from, ParameterValues& to) const;

  Model& model_;
  std::shared_ptr<Plan> plan_;
  std::unique_ptr<Companions> companions_;  // of the plan, where boxes are trained on
  const Kernels& k_;
  const OptimizerSettings optimizer_;
  const MethodSettings method_;
  std::vector<Parameter*> parameters_;
  Values gradient_, moment1_, moment2_, average_;  // like the parameters, in memory of the table
  std::vector<Memory> memory_;
  Index updates_ = 0;
  Arena arena_;
};

}  // namespace epsball
