// Plans on demand, and parameters in and out.
#include "model.h"

#include <algorithm>
#include <stdexcept>

#include "dispatch.h"

namespace epsball {
namespace {

// Whether the model alone holds the plan. A count orders nothing, but giving up a copy does: all that calls read of
// the plan, they have read by then.
bool unused(const std::shared_ptr<Plan>& plan) {
  if (plan.use_count() != 1) return false;
  std::shared_ptr<Plan>(plan).reset();
  return true;
}

}  // namespace

Model::Model(Layers layers) : layers_(std::move(layers)) {
  if (layers_.empty()) throw std::invalid_argument("layers: a model needs at least one layer");
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    Layer& layer = *layers_[i];
    if (layer.reads.empty()) layer.reads = {static_cast<Index>(i) - 1};
    for (const Index read : layer.reads) {
      const Index given = read < 0 ? features() : layers_[static_cast<std::size_t>(read)]->out;
      if (layer.in != given)
        throw std::invalid_argument("layers: layer " + std::to_string(i) + " takes " + std::to_string(layer.in) +
                                    " features, the layer below gives " + std::to_string(given));
    }
  }
}

const Kernels& Model::table() const {
  const Kernels* const table = table_;
  return table ? *table : chosen_table();
}

std::shared_ptr<Plan> Model::plan() { return plan(table()); }

std::shared_ptr<Plan> Model::plan(const Kernels& table) {
  const std::lock_guard lock(mutex_);
  return locked_plan(table);
}

std::shared_ptr<Plan> Model::training_plan() { return training_plan(table()); }

std::shared_ptr<Plan> Model::training_plan(const Kernels& table) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Plan> plan = locked_plan(table);
  plan->prepare_training();
  return plan;
}

// Calls under way keep the plan they began with, and its weights.
std::shared_ptr<Plan> Model::locked_plan(const Kernels& table) {
  auto& [plan, stale] = plans_[&table];
  if (stale && !unused(plan)) plan.reset();
  if (!plan)
    plan = std::make_shared<Plan>(layers_, table);
  else if (stale)
    plan->pack();
  stale = false;
  return plan;
}

void Model::changed() {
  const std::lock_guard lock(mutex_);
  plans_.clear();
}

std::vector<Parameter*> Model::parameters() {
  std::vector<Parameter*> all;
  for (const auto& layer : layers_)
    for (Parameter& p : layer->parameters) all.push_back(&p);
  return all;
}

ParameterValues Model::values() {
  const std::lock_guard lock(mutex_);
  check_open();
  ParameterValues values;
  for (const Parameter* p : parameters()) values.push_back(p->value);
  return values;
}

void Model::load(const std::vector<const float*>& values) {
  const std::lock_guard lock(mutex_);
  check_open();
  const std::vector<Parameter*> all = parameters();
  for (std::size_t i = 0; i < all.size(); ++i) std::copy_n(values[i], all[i]->value.size(), all[i]->value.begin());
  for (auto& [table, held] : plans_) held.stale = true;
}

void Model::close() {
  if (closed_.exchange(true)) throw std::runtime_error("model: it is being trained by another eb.fit");
  // Calls that are under way keep their plan, which the trainer must not write to; a load that has begun is waited for.
  changed();
  admit(false);
}

void Model::open() {
  changed();  // another table's plan has not seen the new weights
  closed_ = false;
}

void Model::admit(bool on) { admitted_ = on ? std::this_thread::get_id() : std::thread::id(); }

void Model::check_open() const {
  if (closed_ && admitted_.load() != std::this_thread::get_id())
    throw std::runtime_error("model: it is being trained by eb.fit; wait until fit returns");
}

}  // namespace epsball
