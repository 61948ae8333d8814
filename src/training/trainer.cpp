// A training step in four phases, each spread over the threads with a result that does not depend on their number:
// passes per slab of rows, parameter gradients per panel of weights, updates per stretch of weights, packing per panel.
#include "training/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>

#include "staging.h"
#include "training/batch_maker.h"

namespace epsball {
namespace {

constexpr Index kUpdateStretch = 16384;  // floats of one update task

// An interrupted call leaves no buffers behind.
struct ResetAtEnd {
  Arena& arena;
  ~ResetAtEnd() { arena.reset(); }
};

// A number that looks random (SplitMix64, Steele et al. 2014).
std::uint64_t mixed(std::uint64_t seed, Index number) {
  std::uint64_t z = seed + (static_cast<std::uint64_t>(number) + 1) * 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

}  // namespace

Trainer::Trainer(Model& model, const OptimizerSettings& optimizer, const MethodSettings& method)
    : model_(model),
      plan_(model.training_plan()),
      k_(plan_->kernels()),
      optimizer_(optimizer),
      method_(method),
      arena_(k_) {
  for (const auto& layer : model.layers())
    for (Parameter& parameter : layer->parameters) {
      parameters_.push_back(&parameter);
      const auto bytes = static_cast<Index>(parameter.value.size() * sizeof(float));
      for (Values* list : {&gradient_, &moment1_, &moment2_, &average_}) {
        if (list == &average_ && optimizer.average <= 0.0f) continue;
        memory_.emplace_back(k_, bytes);
        list->push_back(memory_.back().as<float>());
        k_.fill(nullptr, list->back(), 0, bytes);
      }
      if (optimizer.average > 0.0f) k_.copy(nullptr, average_.back(), parameter.value.data(), bytes);
    }
}

// ---- phases ----

// Losses of a slab and the gradient of its logits.
void Trainer::loss(const TrainingData& data, Batch& batch, Index part, Index first, Index rows) const {
  const Index at = part * batch.rows + first, drawn = batch.offset(part) + first;
  const Rows logits = batch.tape.out.back(), dlogits = batch.tape.gradient.back();
  LossRows loss;
  loss.kind = method_.loss;
  loss.rows = rows;
  loss.classes = batch.classes;
  loss.logits = logits.data + at * logits.ld;
  loss.ld = logits.ld;
  loss.labels = data.labels ? batch.labels + drawn : nullptr;
  loss.targets = batch.targets + drawn * batch.classes;
  loss.targets_ld = batch.classes;
  const float weight = method_.parts[static_cast<std::size_t>(part)].weight * batch.own_share();
  loss.scale = weight / static_cast<float>(batch.rows);
  loss.sharpness = method_.sharpness;
  loss.weights = method_.partly_unlabelled ? batch.weights + drawn : nullptr;
  loss.loss = batch.loss + at;
  loss.predicted = batch.predicted + at;
  loss.dlogits = dlogits.data + at * dlogits.ld;
  loss.dlogits_ld = dlogits.ld;
  k_.loss(nullptr, loss);
}

// What couples the last two parts, on top of their own losses.
void Trainer::pair_loss(const TrainingData& data, Batch& batch, Index first, Index rows) const {
  if (method_.pair == PairLoss::none) return;
  const Rows logits = batch.tape.out.back(), dlogits = batch.tape.gradient.back();
  const Index last = (batch.parts() - 1) * batch.rows + first;
  const Index before = batch.parts() > 1 ? last - batch.rows : last;
  PairRows pair;
  pair.kind = method_.pair;
  pair.rows = rows;
  pair.classes = batch.classes;
  pair.a = logits.data + before * logits.ld;
  pair.b = logits.data + last * logits.ld;
  pair.ld = logits.ld;
  pair.labels = data.labels ? batch.labels + first : nullptr;
  pair.coupling = method_.coupling;
  pair.scale = batch.pair_weight() / static_cast<float>(batch.rows);
  pair.loss = batch.pair_losses + first;
  pair.da = dlogits.data + before * dlogits.ld;
  pair.db = dlogits.data + last * dlogits.ld;
  pair.d_ld = dlogits.ld;
  k_.pair_loss(nullptr, pair);
}

// What all phases of one batch's passes share. At a layer that gathers statistics of the batch all slabs
// stop before any goes on.
struct Trainer::Step {
  const TrainingData& data;
  Batch& batch;
  Mode mode;
  std::uint64_t seed;
  Job job;
  std::vector<std::size_t> stops;  // layers that passes stop at on their way up, the first being 0
  std::size_t lowest;              // no gradient is wanted below the first parameters
};

Trainer::Step Trainer::step(const TrainingData& data, Batch& batch, Mode mode, std::uint64_t seed,
                            Interruption& interruption) const {
  Job job = job_on(*plan_, model_.arenas(), interruption, batch.rows, PgdSlab::floats_per_row(*plan_), passes_of_row());
  job.largest_product = 0;  // threads share the rows out, never a layer
  const std::vector<Lowered>& layers = plan_->training();
  std::vector<std::size_t> stops{0};
  for (std::size_t i = 0; i < layers.size(); ++i)
    if (batch.tape.statistics[i]) stops.push_back(i);
  std::size_t lowest = 0;
  if (method_.inner != Inner::replay)  // which goes on to the input
    while (lowest + 1 < layers.size() && layers[lowest].layer->parameters.empty()) ++lowest;
  return {data, batch, mode, seed, job, stops, lowest};
}

// Passes through the model that a row's loss takes, and those of the attack on it.
double Trainer::passes_of_row() const { return 2.0 * (static_cast<double>(method_.parts.size()) + attack_passes()); }

// Gradients that the attack takes of every row.
double Trainer::attack_passes() const {
  const double ascents = method_.has(Source::ascended) ? 1.0 : 0.0;
  if (!method_.has(Source::attacked) || method_.inner == Inner::replay) return ascents;
  return ascents + static_cast<double>(method_.attack.steps) + 1.0;
}

// What the attack of a batch looks at: this model, or one of the others, by turns drawn from the seed.
std::shared_ptr<Plan> Trainer::attacked_plan(std::uint64_t seed, Index batch) const {
  if (method_.sources.empty()) return plan_;
  const std::size_t drawn = mixed(seed, batch) % (method_.sources.size() + 1);
  return drawn == 0 ? plan_ : method_.sources[drawn - 1]->plan(k_);
}

// Calls f(pass, x, part) for every part with a loss of its own of the slab that starts at row `first`.
template <class F>
void Trainer::for_parts(const Step& s, const Worker& worker, Index first, F f) const {
  for (Index part = 0; part < method_.with_losses(); ++part) {
    const Index at = part * s.batch.rows + first;
    const DropoutDraw draw{s.mode == Mode::training ? s.batch.ids + s.batch.offset(part) + first : nullptr, s.seed,
                           static_cast<std::uint32_t>(updates_)};
    const Source source = method_.parts[static_cast<std::size_t>(part)].source;
    const bool shifted = source == Source::ascended || source == Source::descended;
    PlanPass pass(*plan_, worker.context, s.batch.tape.from(at), &draw, shifted ? s.batch.tape.from(first) : Tape{});
    f(pass, Rows{s.batch.inputs + at * s.batch.features, s.batch.features}, part);
  }
}

// All slabs from one stop to the next; from the last one to the loss, and back down to it.
void Trainer::pass_up(const Step& s, std::size_t stop) const {
  const bool last = stop + 1 == s.stops.size();
  const std::size_t end = plan_->training().size();
  for_slabs(s.job, [&](Worker& worker) {
    std::unique_ptr<BatchMaker> maker;
    if (stop == 0) maker = std::make_unique<BatchMaker>(*plan_, companions_.get(), s.batch, s.seed, worker);
    for (Index first, rows; worker.next(first, rows);) {
      if (maker) maker->make(s.data, s.batch, first, rows);
      for_parts(s, worker, first, [&](PlanPass& pass, Rows x, Index part) {
        pass.forward(rows, x, s.stops[stop], last ? end : s.stops[stop + 1]);
        if (last) loss(s.data, s.batch, part, first, rows);
      });
      if (!last) continue;
      const BatchBoxes* const boxes = maker ? maker->boxes.get() : nullptr;
      if (boxes) boxes->forward(s.batch, first, rows);
      pair_loss(s.data, s.batch, first, rows);
      if (boxes) boxes->backward(s.batch, first, rows, s.lowest);
      for_parts(s, worker, first, [&](PlanPass& pass, Rows x, Index) {
        pass.begin_backward(rows);
        pass.backward(rows, x, end - 1, std::max(s.stops[stop], s.lowest));
        if (maker && maker->replay) maker->replay->move(maker->replayed(s.batch), first, rows, pass, x);
      });
    }
  });
}

// All slabs from one stop down to the one below.
void Trainer::pass_down(const Step& s, std::size_t stop) const {
  for_slabs(s.job, [&](Worker& worker) {
    std::unique_ptr<BatchMaker> maker;
    if (stop == 1 && method_.inner == Inner::replay)
      maker = std::make_unique<BatchMaker>(*plan_, companions_.get(), s.batch, s.seed, worker);
    for (Index first, rows; worker.next(first, rows);)
      for_parts(s, worker, first, [&](PlanPass& pass, Rows x, Index) {
        pass.backward(rows, x, s.stops[stop], std::max(s.stops[stop - 1], s.lowest));
        if (maker) maker->replay->move(maker->replayed(s.batch), first, rows, pass, x);
      });
  });
}

// Through the whole plan a slab at a time, every layer's gradient staying on the batch's tape; returns the sum of the
// losses.
double Trainer::passes(const TrainingData& data, Batch& batch, Mode mode, std::uint64_t seed,
                       Interruption& interruption) {
  const Step s = step(data, batch, mode, seed, interruption);
  const std::size_t last = s.stops.size() - 1;
  for (std::size_t stop = 0; stop <= last; ++stop) {
    if (stop > 0) gather_forward(batch, mode, s.stops[stop]);
    pass_up(s, stop);
  }
  for (std::size_t stop = last; stop > 0; --stop) {
    gather_backward(batch, s.stops[stop]);
    pass_down(s, stop);
  }
  return batch.total_loss();
}

// ---- statistics of a batch ----

void Trainer::gather_forward(const Batch& batch, Mode mode, std::size_t layer) const {
  const Lowered& l = plan_->training()[layer];
  float* const statistics = batch.tape.statistics[layer];
  if (mode == Mode::inference)
    l.layer->running_statistics(k_, l.packed, statistics);
  else
    l.layer->gather_forward(k_, l.packed, batch.rows * batch.parts(), batch.input_of(l), statistics);
}

void Trainer::gather_backward(const Batch& batch, std::size_t layer) {
  std::size_t parameter = 0;
  for (std::size_t i = 0; i < layer; ++i) parameter += plan_->training()[i].layer->parameters.size();
  const Lowered& l = plan_->training()[layer];
  l.layer->gather_backward(k_, batch.rows * batch.parts(), batch.input_of(l), batch.tape.gradient[layer],
                           batch.tape.statistics[layer], gradient_.data() + parameter);
}

void Trainer::keep_statistics(const Batch& batch) const {
  const std::vector<Lowered>& layers = plan_->training();
  for (const auto& layer : model_.layers())
    for (std::size_t i = 0; i < layers.size(); ++i)
      if (layers[i].layer == layer.get() && batch.tape.statistics[i])
        layer->keep_statistics(k_, plan_->values(layer.get()), batch.rows * batch.parts(), batch.tape.statistics[i]);
}

void Trainer::parameter_gradients(const Batch& batch, Interruption& interruption) {
  const std::vector<Lowered>& layers = plan_->training();
  const Index boxed = companions_ ? batch.rows : 0, plain = batch.rows * batch.parts() - boxed;
  struct Task {
    const Layer* layer;
    GradientPart part;
  };
  std::vector<Task> tasks_of_layers;
  Index scratch = 0;
  const auto add = [&](const Layer* layer, const float* packed, Index first, Index rows, Rows x, Rows dy,
                       float* const* gradient) {
    for (Rows* from : {&x, &dy}) from->data += first * from->ld;
    for (Index p = 0; p < layer->gradient_parts(k_); ++p)
      tasks_of_layers.push_back({layer, {p, packed, rows, x, dy, gradient, nullptr}});
    scratch = std::max(scratch, layer->gradient_scratch(k_, rows));
  };
  std::size_t parameter = 0;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const Rows x = batch.input_of(layers[l]), dy = batch.tape.gradient[l];
    add(layers[l].layer, layers[l].packed, 0, plain, x, dy, gradient_.data() + parameter);
    parameter += layers[l].layer->parameters.size();
    if (!companions_ || !companions_->at(l).own) continue;
    const Companions::Companion& c = companions_->at(l);
    add(c.layer, c.packed, plain, boxed, x, dy, c.gradient.data());
  }
  Tasks tasks(static_cast<Index>(tasks_of_layers.size()));
  const double work = operations(static_cast<double>((plain + boxed) * plan_->multiply_adds()));
  run_workers(threads_worth(work), interruption, [&](int) {
    Borrowed arena(model_.arenas(), k_);
    float* room = (*arena).take<float>(scratch);
    for (Index i; (i = tasks.next()) >= 0;) {
      auto [layer, part] = tasks_of_layers[static_cast<std::size_t>(i)];
      part.scratch = room;
      layer->gradient(k_, part);
    }
    (*arena).check();
  });
  if (companions_) add_gradients_of_radii();
}

// Those of the companions' absolute weights, which are the layers' own up to signs.
void Trainer::add_gradients_of_radii() const {
  std::size_t parameter = 0;
  for (std::size_t l = 0; l < plan_->training().size(); ++l) {
    companions_->add_gradient(l, gradient_.data() + parameter);
    parameter += plan_->training()[l].layer->parameters.size();
  }
}

// Of all that is trained together, given per parameter.
double Trainer::norm_of(const Values& values) const {
  double squares = 0.0;
  for (std::size_t p = 0; p < parameters_.size(); ++p)
    if (parameters_[p]->trained)
      squares += k_.sum_squares(nullptr, static_cast<Index>(parameters_[p]->value.size()), values[p]);
  return std::sqrt(squares);
}

// What scales the gradient to at most clip_norm.
float Trainer::clip_factor() const {
  if (optimizer_.clip_norm <= 0.0f) return 1.0f;
  const double norm = norm_of(gradient_), most = static_cast<double>(optimizer_.clip_norm);
  return norm > most ? static_cast<float>(most / norm) : 1.0f;
}

// The gradient is that of the update before.
Diverged Trainer::diverged(Index batch) const {
  std::ostringstream told;
  told << "the loss of batch " << batch << " is not finite; norm of the weights " << norm_of(weights())
       << ", of the last gradient " << norm_of(gradient_);
  return Diverged(told.str());
}

// Where the parameters lie, in layer order.
Values Trainer::weights() const {
  Values values;
  for (const auto& layer : model_.layers())
    for (float* value : plan_->values(layer.get())) values.push_back(value);
  return values;
}

// A unit's incoming weights are a row of its layer's weight.
void Trainer::constrain(const Parameter& parameter, float* value) const {
  if (optimizer_.max_norm <= 0.0f || parameter.name != "weight" || parameter.shape.size() < 2) return;
  const Index units = parameter.shape.front(), size = static_cast<Index>(parameter.value.size());
  k_.limit_norms(nullptr, units, size / units, value, optimizer_.max_norm);
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
  common.correction.first = static_cast<float>(1.0 - std::pow(static_cast<double>(o.beta1), t));
  common.correction.second = static_cast<float>(1.0 - std::pow(static_cast<double>(o.beta2), t));
  common.l2 = o.l2;
  common.l1 = o.l1;
  common.decay = o.decay;
  common.scale = clip_factor();
  std::vector<Update> stretches;
  const Values values = weights();
  Index count = 0;
  for (std::size_t p = 0; p < parameters_.size(); ++p) {
    if (!parameters_[p]->trained) continue;
    const auto size = static_cast<Index>(parameters_[p]->value.size());
    count += size;
    const Index each = k_.device ? size : kUpdateStretch;
    for (Index at = 0; at < size; at += each) {
      Update u = common;
      u.count = std::min(each, size - at);
      u.parameter = values[p] + at;
      u.gradient = gradient_[p] + at;
      u.moment1 = moment1_[p] + at;
      u.moment2 = moment2_[p] + at;
      stretches.push_back(u);
    }
  }
  const auto rule = o.rule == Rule::sgd ? k_.sgd : k_.adam;
  constexpr double kPerWeight = 32.0;  // what Adam's roots and quotients, or packing, take the time of
  const double work = operations(kPerWeight * static_cast<double>(count));
  for_tasks(static_cast<Index>(stretches.size()), work, interruption,
            [&](Index i) { rule(nullptr, stretches[static_cast<std::size_t>(i)]); });
  // The first averages are of few weights: the share that is kept grows as (1 + t) / (10 + t).
  const auto share = static_cast<float>(std::max(1.0 - static_cast<double>(o.average), 9.0 / (10.0 + t)));
  const bool more = o.max_norm > 0.0f || !average_.empty();
  for_tasks(more ? static_cast<Index>(parameters_.size()) : 0, work, interruption, [&](Index i) {
    const auto p = static_cast<std::size_t>(i);
    constrain(*parameters_[p], values[p]);
    if (!average_.empty())
      k_.blend(nullptr, static_cast<Index>(parameters_[p]->value.size()), share, values[p], average_[p]);
  });
  // Attacks read what inference does.
  const Index first = method_.has(Source::attacked) || method_.has(Source::ascended) ? 0 : plan_->first_training_part();
  for_tasks(plan_->pack_parts() - first, work, interruption, [&](Index part) { plan_->pack_part(first + part); });
  if (companions_) companions_->pack(interruption);
}

// ---- entries ----

double Trainer::run(const TrainingData& data, const Epoch& epoch, Interruption& interruption) {
  for (const Model* source : method_.sources) source->check_open();
  plan_ = model_.training_plan(k_);  // parameters that were loaded since have made a new one
  if (method_.boxes()) {
    companions_ = std::make_unique<Companions>(*plan_);
    companions_->pack(interruption);
  }
  try {
    double loss = 0.0;
    const double rows = static_cast<double>(std::min(epoch.batch_size, epoch.count));
    const double work = operations(passes_of_row() * rows * static_cast<double>(plan_->multiply_adds()));
    with_crew(threads_worth(work), interruption, [&] { loss = train(data, epoch, interruption); });
    plan_->download();
    return loss;
  } catch (...) {  // the model keeps the updates that were made
    plan_->download();
    throw;
  }
}

double Trainer::train(const TrainingData& data, const Epoch& epoch, Interruption& interruption) {
  const ResetAtEnd reset{arena_};
  Staging staging(k_, model_.arenas());
  TrainingData here = data;
  here.x = staging.in(data.x);
  const Index* ids = staging.in(epoch.order, epoch.count);
  Batch batch(*plan_, method_, arena_, std::min(epoch.batch_size, epoch.count));
  double total = 0.0, trained = 0.0;
  for (Index first = 0, number = 0; first < epoch.count; first += epoch.batch_size, ++number) {
    batch.begin(here, epoch.order + first, ids + first, std::min(epoch.batch_size, epoch.count - first));
    batch.attacked_plan = attacked_plan(epoch.seed, number);
    if (epoch.budgets) batch.spend(epoch.budgets[number]);
    for (int replay = 0; replay < method_.replays; ++replay) {
      const double loss = passes(here, batch, Mode::training, epoch.seed, interruption);
      if (!std::isfinite(loss)) throw diverged(number);
      total += loss;
      trained += static_cast<double>(batch.rows);
      parameter_gradients(batch, interruption);
      keep_statistics(batch);
      update(epoch.rates[number], interruption);
    }
  }
  for (Index part = 0; part < plan_->first_training_part(); ++part) plan_->pack_part(part);
  arena_.check();
  return total / trained;
}

ParameterValues Trainer::gradients(const TrainingData& data, Interruption& interruption) {
  std::vector<Index> order(static_cast<std::size_t>(data.x.rows));
  std::iota(order.begin(), order.end(), Index{0});
  const ResetAtEnd reset{arena_};
  Staging staging(k_, model_.arenas());
  TrainingData here = data;
  here.x = staging.in(data.x);
  const Index* ids = staging.in(order.data(), data.x.rows);
  Batch batch(*plan_, method_, arena_, data.x.rows);
  batch.begin(here, order.data(), ids, data.x.rows);
  batch.attacked_plan = plan_;
  passes(here, batch, Mode::inference, 0, interruption);
  parameter_gradients(batch, interruption);
  arena_.check();
  ParameterValues values;
  copy_out(gradient_, values);
  return values;
}

// ---- what a checkpoint holds ----

void Trainer::copy_out(const Values& from, ParameterValues& to) const {
  for (std::size_t p = 0; p < from.size(); ++p) {
    to.emplace_back(parameters_[p]->value.size());
    k_.copy(nullptr, to.back().data(), from[p], static_cast<Index>(to.back().size() * sizeof(float)));
  }
  if (k_.device) k_.device->finish(nullptr);
}

ParameterValues Trainer::moments() const {
  ParameterValues values;
  copy_out(moment1_, values);
  copy_out(moment2_, values);
  copy_out(average_, values);
  return values;
}

ParameterValues Trainer::averages() const {
  ParameterValues values;
  copy_out(average_, values);
  return values;
}

void Trainer::load_moments(const ParameterValues& moments, Index updates) {
  for (std::size_t p = 0; p < moments.size(); ++p) {
    const std::size_t count = parameters_.size();
    const Values& list = p < count ? moment1_ : p < 2 * count ? moment2_ : average_;
    float* const to = list[p % count];
    k_.copy(nullptr, to, moments[p].data(), static_cast<Index>(moments[p].size() * sizeof(float)));
  }
  updates_ = updates;
}

}  // namespace epsball
