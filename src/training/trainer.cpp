// A training step in four phases, each spread over the threads with a result that does not depend on their number:
// passes per slab of rows, parameter gradients per panel of weights, updates per stretch of weights, packing per panel.
#include "training/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "rounding.h"

namespace epsball {
namespace {

constexpr Index kUpdateStretch = 16384;  // floats of one update task

// An interrupted call leaves no buffers behind.
struct ResetAtEnd {
  Arena& arena;
  ~ResetAtEnd() { arena.reset(); }
};

}  // namespace

// The memory of one batch: the rows trained on stand in one matrix, clean ones first, adversarial ones behind them.
struct Trainer::Batch {
  Batch(const Plan& plan, const MethodSettings& method, Arena& arena, Index capacity);
  void begin(const TrainingData& data, const Index* ids, Index rows);
  void spend(float budget);

  const MethodSettings& method;
  const bool clean, adversarial;
  const Index capacity, features, classes;
  float* inputs;  // rows are not padded: the attack reads and writes them as a caller's array
  std::int32_t *labels, *predicted;
  float *targets, *loss;
  Tape tape;
  std::vector<double> eps;
  std::vector<float> radius, start_radius, step_size, box_lo, box_hi;
  AttackInputs attack_in;
  AttackOutputs attack_out;

  // The batch at hand.
  Index rows = 0;
  const Index* ids = nullptr;

  Index parts() const { return (clean ? 1 : 0) + (adversarial ? 1 : 0); }
  // Where clean rows are gathered: they take part in training, or lie behind what does.
  float* gathered() const { return inputs + (clean ? 0 : capacity * features); }
  float* attacked() const { return inputs + (clean ? rows * features : 0); }
  Rows input_of(std::size_t layer) const { return layer == 0 ? Rows{inputs, features} : tape.out[layer - 1]; }
};

Trainer::Batch::Batch(const Plan& plan, const MethodSettings& method, Arena& arena, Index capacity)
    : method(method),
      clean(method.clean_weight > 0.0f),
      adversarial(method.clean_weight < 1.0f),
      capacity(capacity),
      features(plan.features()),
      classes(plan.classes()) {
  const auto n = static_cast<std::size_t>(capacity), d = static_cast<std::size_t>(features);
  inputs = arena.take<float>(2 * capacity * features);
  labels = arena.take<std::int32_t>(capacity);
  predicted = arena.take<std::int32_t>(2 * capacity);
  targets = arena.take<float>(capacity * classes);
  loss = arena.take<float>(2 * capacity);
  tape = plan.training_tape(arena, parts() * capacity);
  eps.resize(n);
  radius.resize(n);
  start_radius.resize(n);
  step_size.resize(n);
  spend(1.0f);
  box_lo.assign(d, float_above(method.lo));
  box_hi.assign(d, float_below(method.hi));
  attack_in.judge = labels;
  attack_in.eps = eps.data();
  attack_in.radius = radius.data();
  attack_in.start_radius = start_radius.data();
  attack_in.step_size = step_size.data();
  attack_in.box_lo = box_lo.data();
  attack_in.box_hi = box_hi.data();
  attack_out.success = arena.take<std::uint8_t>(capacity);
  attack_out.queries = arena.take<std::int64_t>(capacity);
  attack_out.loss = arena.take<float>(capacity);
  attack_out.zero_gradient = arena.take<std::uint8_t>(capacity);
  attack_out.broken = arena.take<std::uint8_t>(capacity);
}

// Gives the attack this share of its eps and steps.
void Trainer::Batch::spend(float budget) {
  const double share = static_cast<double>(budget), now = share * method.eps;
  std::fill(eps.begin(), eps.end(), now);
  std::fill(radius.begin(), radius.end(), float_below(now));
  std::fill(start_radius.begin(), start_radius.end(), float_below(share * static_cast<double>(method.start_radius)));
  std::fill(step_size.begin(), step_size.end(), float_below(share * static_cast<double>(method.step_size)));
}

void Trainer::Batch::begin(const TrainingData& data, const Index* batch_ids, Index batch_rows) {
  ids = batch_ids;
  rows = batch_rows;
  for (Index i = 0; i < rows; ++i) {
    labels[i] = data.labels ? data.labels[ids[i]] : 0;
    attack_out.queries[i] = 0;
    if (data.targets) std::copy_n(data.targets + ids[i] * classes, classes, targets + i * classes);
  }
  attack_in.x = {gathered(), DType::float32, rows, features};
  attack_in.labels = data.labels ? labels : nullptr;
  attack_in.targets = targets;
  attack_in.ids = ids;
  attack_out.x_adv = {attacked(), DType::float32, rows, features};
}

Trainer::Trainer(Model& model, const OptimizerSettings& optimizer, const MethodSettings& method)
    : model_(model), plan_(model.training_plan()), k_(plan_->kernels()), optimizer_(optimizer), method_(method) {
  for (const auto& layer : model.layers())
    for (Parameter& parameter : layer->parameters) {
      parameters_.push_back(&parameter);
      for (auto* list : {&gradient_, &moment1_, &moment2_}) list->emplace_back(parameter.value.size(), 0.0f);
      if (optimizer.average > 0.0f) average_.push_back(parameter.value);
    }
}

// ---- phases ----

void Trainer::gather_rows(PgdSlab* attack, const TrainingData& data, Batch& batch, Index first, Index rows) const {
  float* gathered = batch.gathered() + first * batch.features;
  k_.load_rows(nullptr, data.x, batch.ids + first, 0, rows, gathered, batch.features);
  if (attack) attack->run(batch.attack_in, batch.attack_out, first, rows);
}

// Losses of a slab and the gradient of its logits.
void Trainer::loss(const TrainingData& data, Batch& batch, Index part, Index first, Index rows) const {
  const Index at = part * batch.rows + first;
  const Rows logits = batch.tape.out.back(), dlogits = batch.tape.gradient.back();
  const bool clean = batch.clean && part == 0;
  LossRows loss;
  loss.kind = method_.loss;
  loss.rows = rows;
  loss.classes = batch.classes;
  loss.logits = logits.data + at * logits.ld;
  loss.ld = logits.ld;
  loss.labels = data.labels ? batch.labels + first : nullptr;
  loss.targets = batch.targets + first * batch.classes;
  loss.targets_ld = batch.classes;
  loss.scale = (clean ? method_.clean_weight : 1.0f - method_.clean_weight) / static_cast<float>(batch.rows);
  loss.loss = batch.loss + at;
  loss.predicted = batch.predicted + at;
  loss.dlogits = dlogits.data + at * dlogits.ld;
  loss.dlogits_ld = dlogits.ld;
  k_.loss(nullptr, loss);
}

// What all phases of one batch's passes share. A layer that gathers statistics of the batch is a seam: all slabs come
// up to it before any goes on.
struct Trainer::Round {
  const TrainingData& data;
  Batch& batch;
  Mode mode;
  std::uint64_t seed;
  Job job;
  std::vector<std::size_t> seams;  // layers that passes stop at on their way up, the first being 0
  std::size_t lowest;              // no gradient is wanted below the first parameters
};

Trainer::Round Trainer::round(const TrainingData& data, Batch& batch, Mode mode, std::uint64_t seed,
                              Interruption& interruption) const {
  const double work = 2.0 * static_cast<double>(batch.parts() + (batch.adversarial ? method_.attack.steps + 1 : 0));
  const Job job{k_,
                model_.arenas(),
                interruption,
                batch.rows,
                PgdSlab::floats_per_row(*plan_),
                work * static_cast<double>(batch.rows) * static_cast<double>(plan_->multiply_adds()),
                0,
                plan_->slab_tile()};
  const std::vector<Lowered>& layers = plan_->training();
  std::vector<std::size_t> seams{0};
  for (std::size_t i = 0; i < layers.size(); ++i)
    if (batch.tape.statistics[i]) seams.push_back(i);
  std::size_t lowest = 0;
  while (lowest + 1 < layers.size() && layers[lowest].layer->parameters.empty()) ++lowest;
  return {data, batch, mode, seed, job, seams, lowest};
}

// Calls f(pass, x, part) for every part of the slab that starts at row `first`.
template <class F>
void Trainer::for_parts(const Round& r, const Worker& worker, Index first, F f) const {
  for (Index part = 0; part < r.batch.parts(); ++part) {
    const Index at = part * r.batch.rows + first;
    const DropoutDraw draw{r.mode == Mode::training ? r.batch.ids + first : nullptr, r.seed,
                           static_cast<std::uint32_t>(updates_)};
    PlanPass pass(*plan_, worker.context, r.batch.tape.from(at), &draw);
    f(pass, Rows{r.batch.inputs + at * r.batch.features, r.batch.features}, part);
  }
}

// All slabs from one seam to the next; from the last one to the loss, and back down to it.
void Trainer::pass_up(const Round& r, std::size_t seam) const {
  const bool last = seam + 1 == r.seams.size();
  const std::size_t end = plan_->training().size();
  PgdSettings attack = method_.attack;
  attack.seed = r.seed;
  for_slabs(r.job, [&](Worker& worker) {
    std::unique_ptr<PgdSlab> slab;
    if (r.batch.adversarial && seam == 0) slab = std::make_unique<PgdSlab>(*plan_, attack, worker);
    for (Index first, rows; worker.next(first, rows);) {
      if (seam == 0) gather_rows(slab.get(), r.data, r.batch, first, rows);
      for_parts(r, worker, first, [&](PlanPass& pass, Rows x, Index part) {
        pass.forward(rows, x, r.seams[seam], last ? end : r.seams[seam + 1]);
        if (!last) return;
        loss(r.data, r.batch, part, first, rows);
        pass.begin_backward(rows);
        pass.backward(rows, x, end - 1, std::max(r.seams[seam], r.lowest));
      });
    }
  });
}

// All slabs from one seam down to the one below.
void Trainer::pass_down(const Round& r, std::size_t seam) const {
  for_slabs(r.job, [&](Worker& worker) {
    for (Index first, rows; worker.next(first, rows);)
      for_parts(r, worker, first, [&](PlanPass& pass, Rows x, Index) {
        pass.backward(rows, x, r.seams[seam], std::max(r.seams[seam - 1], r.lowest));
      });
  });
}

// Through the whole plan a slab at a time, every layer's gradient staying on the batch's tape; returns the sum of the
// losses.
double Trainer::passes(const TrainingData& data, Batch& batch, Mode mode, std::uint64_t seed,
                       Interruption& interruption) {
  const Round r = round(data, batch, mode, seed, interruption);
  const std::size_t last = r.seams.size() - 1;
  for (std::size_t seam = 0; seam <= last; ++seam) {
    if (seam > 0) gather_forward(batch, mode, r.seams[seam]);
    pass_up(r, seam);
  }
  for (std::size_t seam = last; seam > 0; --seam) {
    gather_backward(batch, r.seams[seam]);
    pass_down(r, seam);
  }
  double total = 0.0;
  for (Index i = 0; i < batch.rows * batch.parts(); ++i) {
    const bool clean = batch.clean && i < batch.rows;
    total += (clean ? method_.clean_weight : 1.0f - method_.clean_weight) * static_cast<double>(batch.loss[i]);
  }
  return total;
}

// ---- statistics of a batch ----

void Trainer::gather_forward(const Batch& batch, Mode mode, std::size_t layer) const {
  const Lowered& l = plan_->training()[layer];
  float* const statistics = batch.tape.statistics[layer];
  if (mode == Mode::inference)
    l.layer->running_statistics(l.packed, statistics);
  else
    l.layer->gather_forward(k_, batch.rows * batch.parts(), batch.input_of(layer), statistics);
}

void Trainer::gather_backward(const Batch& batch, std::size_t layer) {
  std::size_t parameter = 0;
  for (std::size_t l = 0; l < layer; ++l) parameter += plan_->training()[l].layer->parameters.size();
  std::vector<float*> gradients;
  for (std::size_t p = parameter; p < gradient_.size(); ++p) gradients.push_back(gradient_[p].data());
  plan_->training()[layer].layer->gather_backward(k_, batch.rows * batch.parts(), batch.input_of(layer),
                                                  batch.tape.gradient[layer], batch.tape.statistics[layer],
                                                  gradients.data());
}

void Trainer::keep_statistics(const Batch& batch) {
  const std::vector<Lowered>& layers = plan_->training();
  for (const auto& layer : model_.layers())
    for (std::size_t i = 0; i < layers.size(); ++i)
      if (layers[i].layer == layer.get() && batch.tape.statistics[i])
        layer->keep_statistics(batch.rows * batch.parts(), batch.tape.statistics[i]);
}

void Trainer::parameter_gradients(const Batch& batch, Interruption& interruption) {
  const std::vector<Lowered>& layers = plan_->training();
  const Index rows = batch.rows * batch.parts();
  struct Part {
    std::size_t layer;
    Index part;
    std::size_t first_parameter;
  };
  std::vector<Part> parts;
  Index scratch = 0;
  std::size_t parameter = 0;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    for (Index p = 0; p < layers[l].layer->gradient_parts(k_); ++p) parts.push_back({l, p, parameter});
    scratch = std::max(scratch, layers[l].layer->gradient_scratch(k_, rows));
    parameter += layers[l].layer->parameters.size();
  }
  std::vector<float*> gradients;
  for (auto& g : gradient_) gradients.push_back(g.data());
  Tasks tasks(static_cast<Index>(parts.size()));
  const auto operations = static_cast<double>(rows * plan_->multiply_adds());
  run_workers(threads_worth(operations), interruption, [&](int) {
    Borrowed arena(model_.arenas());
    float* room = (*arena).take<float>(scratch);
    for (Index i; (i = tasks.next()) >= 0;) {
      const auto [l, part, first] = parts[static_cast<std::size_t>(i)];
      layers[l].layer->gradient(k_, {part, layers[l].packed, rows, batch.input_of(l), batch.tape.gradient[l],
                                     gradients.data() + first, room});
    }
    (*arena).check();
  });
}

// What scales the gradient to at most clip_norm.
float Trainer::clip_factor() const {
  if (optimizer_.clip_norm <= 0.0f) return 1.0f;
  double squares = 0.0;
  for (std::size_t p = 0; p < parameters_.size(); ++p)
    if (parameters_[p]->trained)
      squares += k_.sum_squares(nullptr, static_cast<Index>(gradient_[p].size()), gradient_[p].data());
  const double norm = std::sqrt(squares), most = static_cast<double>(optimizer_.clip_norm);
  return norm > most ? static_cast<float>(most / norm) : 1.0f;
}

// A unit's incoming weights are a row of its layer's weight.
void Trainer::constrain(Parameter& parameter) const {
  if (optimizer_.max_norm <= 0.0f || parameter.name != "weight" || parameter.shape.size() < 2) return;
  const Index units = parameter.shape.front(), size = static_cast<Index>(parameter.value.size());
  k_.limit_norms(nullptr, units, size / units, parameter.value.data(), optimizer_.max_norm);
}

void Trainer::update(float rate, Interruption& interruption) {
  ++updates_;
  const OptimizerSettings& o = optimizer_;
  const auto t = static_cast<double>(updates_);
  Update common;
  common.rate = rate;
  common.momentum = o.momentum;
  common.nesterov = o.nesterov;
  common.beta1 = o.beta1;
  common.beta2 = o.beta2;
  common.epsilon = o.epsilon;
  common.correction1 = static_cast<float>(1.0 - std::pow(static_cast<double>(o.beta1), t));
  common.correction2 = static_cast<float>(1.0 - std::pow(static_cast<double>(o.beta2), t));
  common.l2 = o.l2;
  common.l1 = o.l1;
  common.decay = o.decay;
  common.scale = clip_factor();
  std::vector<Update> stretches;
  for (std::size_t p = 0; p < parameters_.size(); ++p) {
    if (!parameters_[p]->trained) continue;
    const auto size = static_cast<Index>(parameters_[p]->value.size());
    for (Index at = 0; at < size; at += kUpdateStretch) {
      Update u = common;
      u.count = std::min(kUpdateStretch, size - at);
      u.parameter = parameters_[p]->value.data() + at;
      u.gradient = gradient_[p].data() + at;
      u.moment1 = moment1_[p].data() + at;
      u.moment2 = moment2_[p].data() + at;
      stretches.push_back(u);
    }
  }
  const auto rule = o.rule == Rule::sgd ? k_.sgd : k_.adam;
  constexpr double kPerWeight = 4.0;  // operations of an update, and of packing
  const double operations = kPerWeight * static_cast<double>(plan_->multiply_adds());
  for_tasks(static_cast<Index>(stretches.size()), operations, interruption,
            [&](Index i) { rule(nullptr, stretches[static_cast<std::size_t>(i)]); });
  // The first averages are of few weights: the share that is kept grows as (1 + t) / (10 + t).
  const auto share = static_cast<float>(std::max(1.0 - static_cast<double>(o.average), 9.0 / (10.0 + t)));
  for_tasks(static_cast<Index>(parameters_.size()), operations, interruption, [&](Index i) {
    const auto p = static_cast<std::size_t>(i);
    std::vector<float>& value = parameters_[p]->value;
    constrain(*parameters_[p]);
    if (!average_.empty()) k_.blend(nullptr, static_cast<Index>(value.size()), share, value.data(), average_[p].data());
  });
  // Attacks read what inference does.
  const Index first = method_.clean_weight < 1.0f ? 0 : plan_->first_training_part();
  for_tasks(plan_->pack_parts() - first, operations, interruption, [&](Index part) { plan_->pack_part(first + part); });
}

// ---- entries ----

double Trainer::run(const TrainingData& data, const Epoch& epoch, Interruption& interruption) {
  plan_ = model_.training_plan(k_);  // parameters that were loaded since have made a new one
  const ResetAtEnd reset{arena_};
  Batch batch(*plan_, method_, arena_, std::min(epoch.batch_size, epoch.count));
  double total = 0.0;
  for (Index first = 0, number = 0; first < epoch.count; first += epoch.batch_size, ++number) {
    batch.begin(data, epoch.order + first, std::min(epoch.batch_size, epoch.count - first));
    if (epoch.budgets) batch.spend(epoch.budgets[number]);
    const double loss = passes(data, batch, Mode::training, epoch.seed, interruption);
    if (!std::isfinite(loss)) throw Diverged("the loss of batch " + std::to_string(number) + " is not finite");
    total += loss;
    parameter_gradients(batch, interruption);
    keep_statistics(batch);
    update(epoch.rates[number], interruption);
  }
  for (Index part = 0; part < plan_->first_training_part(); ++part) plan_->pack_part(part);
  arena_.check();
  return total / static_cast<double>(epoch.count);
}

const std::vector<std::vector<float>>& Trainer::gradients(const TrainingData& data, Interruption& interruption) {
  std::vector<Index> ids(static_cast<std::size_t>(data.x.rows));
  std::iota(ids.begin(), ids.end(), Index{0});
  const ResetAtEnd reset{arena_};
  Batch batch(*plan_, method_, arena_, data.x.rows);
  batch.begin(data, ids.data(), data.x.rows);
  passes(data, batch, Mode::inference, 0, interruption);
  parameter_gradients(batch, interruption);
  arena_.check();
  return gradient_;
}

}  // namespace epsball
