// Lowering, packing and the passes.
#include "plan.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "layers/arrange.h"
#include "layers/batch_norm_channel.h"

namespace epsball {

namespace {

// The images that the plan so far gives.
Image top_image(const std::vector<Lowered>& plan) {
  const auto last = std::find_if(plan.rbegin(), plan.rend(), [](const Lowered& l) { return l.layer->images(); });
  return last->layer->images()->out;
}

Index bytes_of(const Parameter& p) { return static_cast<Index>(p.value.size() * sizeof(float)); }

bool holds(const std::vector<Lowered>& plan, const Layer* layer) {
  return std::any_of(plan.begin(), plan.end(), [&](const Lowered& l) { return l.layer == layer; });
}

}  // namespace

// Puts a rearrangement on top of the plan where `next` (null: the end of the model) needs one.
void Plan::arrange(std::vector<Lowered>& plan, const Layer* next) {
  const bool images = !plan.empty() && plan.back().images;
  const bool wanted = next && (next->images() || (next->is_elementwise() && images));
  if (images == wanted) return;
  const Image image = wanted ? next->images()->in : top_image(plan);
  own_.push_back(std::make_unique<Arrange>(image, wanted ? Arrangement::to_images : Arrangement::to_rows));
  plan.push_back({own_.back().get(), {}, wanted, nullptr});
}

Layer* Plan::vary(const Layer* base, const Layer* scale, std::unique_ptr<Layer> copy) {
  variants_.push_back({base, scale, copy.get()});
  own_.push_back(std::move(copy));
  return variants_.back().copy;
}

std::vector<Lowered> Plan::lower(const Layers& layers, bool training) {
  std::vector<Lowered> plan;
  for (const auto& layer : layers) {
    if (layer->is_identity() || (layer->dropout() > 0.0f && !training)) continue;
    const ActivationSpec activation = layer->activation();
    const bool open = !plan.empty() && plan.back().activation.kind == Activation::identity;
    if (open && !training && layer->folds() > 0) {
      Lowered& below = plan.back();
      auto copy = below.layer->copy_with_bias();
      // Behind a Flatten, features are more than the channels below.
      if (copy && static_cast<Index>(copy->parameters[1].value.size()) == layer->folds()) {
        if (!variants_.empty() && variants_.back().copy == below.layer && !variants_.back().scale)
          variants_.back().scale = layer.get();
        else
          below.layer = vary(below.layer, layer.get(), std::move(copy));
        continue;
      }
    }
    if (activation.kind != Activation::identity && open && plan.back().layer->takes_epilogue()) {
      plan.back().activation = activation;
      continue;
    }
    const Layer* next = layer.get();
    if (!training && !plan.empty() && plan.back().images)
      if (auto copy = layer->copy_on_images(top_image(plan))) next = vary(layer.get(), nullptr, std::move(copy));
    arrange(plan, next);
    plan.push_back({next, activation, !plan.empty() && plan.back().images, nullptr});
  }
  arrange(plan, nullptr);
  return plan;
}

Tape Tape::from(Index first) const {
  Tape tape = *this;
  for (auto* list : {&tape.out, &tape.pre, &tape.gradient})
    for (Rows& rows : *list)
      if (rows.data) rows.data += first * rows.ld;
  return tape;
}

Plan::Plan(const Layers& layers, const Kernels& kernels)
    : kernels_(kernels),
      features_(layers.front()->in),
      classes_(layers.back()->out),
      inference_(lower(layers, false)),
      training_(lower(layers, true)) {
  if (inference_.empty()) throw std::invalid_argument("layers: none of them computes anything");
  for (const Layers* list : {&layers, &std::as_const(own_)})
    for (const auto& layer : *list) hold(*layer);
  std::vector<const Layer*> alone, shared;
  for (const Lowered& l : inference_) (holds(training_, l.layer) ? shared : alone).push_back(l.layer);
  place(alone);
  first_training_part_ = pack_parts();
  place(shared);
  inference_parts_ = pack_parts();
  pack();
}

void Plan::prepare_training() {
  if (std::exchange(trains_, true)) return;
  std::vector<const Layer*> alone;
  for (const Lowered& l : training_)
    if (!holds(inference_, l.layer)) alone.push_back(l.layer);
  place(alone);
  for (Index part = inference_parts_; part < pack_parts(); ++part) pack_part(part);
}

void Plan::hold(Layer& layer) {
  Held& held = held_[&layer];
  held.layer = &layer;
  for (Parameter& p : layer.parameters) {
    if (kernels_.device) held.copies.emplace_back(kernels_, bytes_of(p));
    held.values.push_back(kernels_.device ? held.copies.back().as<float>() : p.value.data());
  }
}

void Plan::upload() const {
  if (!kernels_.device) return;
  for (const auto& [key, held] : held_)
    for (std::size_t i = 0; i < held.values.size(); ++i) {
      const Parameter& p = held.layer->parameters[i];
      kernels_.copy(nullptr, held.values[i], p.value.data(), bytes_of(p));
    }
}

void Plan::download() const {
  if (!kernels_.device) return;
  for (const auto& [key, held] : held_)
    for (std::size_t i = 0; i < held.values.size(); ++i) {
      Parameter& p = held.layer->parameters[i];
      kernels_.copy(nullptr, p.value.data(), held.values[i], bytes_of(p));
    }
  kernels_.device->finish(nullptr);
}

// Gives layers the memory of their packed weights.
void Plan::place(const std::vector<const Layer*>& layers) {
  for (const Layer* layer : layers) {
    const Index floats = padded(layer->packed_floats());
    if (floats == 0) continue;
    packed_.emplace_back(kernels_, floats * static_cast<Index>(sizeof(float)));
    auto* const packed = packed_.back().as<float>();
    layer->pack_constants(kernels_, packed);
    for (auto* list : {&inference_, &training_})
      for (Lowered& l : *list)
        if (l.layer == layer) l.packed = packed;
    // What a scale is folded into is made anew before it is packed: one task.
    const Variant* variant = variant_of(layer);
    const Index count = layer->pack_parts(kernels_), together = variant && variant->scale ? count : 1;
    for (Index part = 0; part < count; part += together) parts_.push_back({layer, packed, part, together});
  }
}

Index Plan::multiply_adds() const {
  Index total = 0;
  for (const Lowered& l : inference_) total += l.layer->multiply_adds();
  return total;
}

Index Plan::largest_product() const {
  Index largest = 0;
  for (const Lowered& l : inference_)
    if (l.layer->shares()) largest = std::max(largest, l.layer->multiply_adds());
  return largest;
}

// Two blocks of images at least: dense weights on top are read once for both.
Index Plan::slab_tile() const { return has_images() ? 2 * kernels_.lanes : kernels_.tile_rows; }

bool Plan::has_images() const {
  return std::any_of(inference_.begin(), inference_.end(), [](const Lowered& l) { return l.images; });
}

// A block costs the same however many of its lanes are filled; rows one by one run at half its speed or less.
Index Plan::lanes(Index rows) const { return has_images() && 2 * rows > kernels_.lanes ? kernels_.lanes : 1; }

Index Plan::floats_per_row() const {
  Index total = 0, widest = 0;
  for (const Lowered& l : inference_) {
    total += padded(l.layer->out) * (derivative_needs_input(l.activation.kind) ? 2 : 1);
    widest = std::max(widest, padded(l.layer->out));
  }
  return total + 2 * widest;
}

void Plan::pack() {
  upload();
  Interruption never([] { return false; });
  const double operations = kernels_.device ? 0.0 : 4.0 * static_cast<double>(multiply_adds());
  for_tasks(pack_parts(), operations, never, [&](Index part) { pack_part(part); });
  if (kernels_.device) kernels_.device->finish(nullptr);  // calls have streams of their own
}

void Plan::pack_part(Index part) const {
  const Part& p = parts_[static_cast<std::size_t>(part)];
  const Variant* variant = variant_of(p.layer);
  if (variant && variant->scale) refresh(*variant);
  const Values& from = values(variant && !variant->scale ? variant->base : p.layer);
  for (Index i = p.first; i < p.first + p.count; ++i) p.layer->pack(kernels_, from, p.packed, i);
}

const Plan::Variant* Plan::variant_of(const Layer* layer) const {
  const auto found =
      std::find_if(variants_.begin(), variants_.end(), [&](const Variant& v) { return v.copy == layer; });
  return found == variants_.end() ? nullptr : &*found;
}

// Makes a folded copy's weights (channels, ...) and biases.
void Plan::refresh(const Variant& v) const {
  if (const Variant* below = variant_of(v.base)) refresh(*below);
  const Values &from = values(v.base), &to = values(v.copy);
  FoldChannels f;
  f.channels = v.scale->folds();
  f.each = static_cast<Index>(v.copy->parameters[0].value.size()) / f.channels;
  f.weight = from[0];
  f.bias = from.size() > 1 ? from[1] : nullptr;
  f.to_weight = to[0];
  f.to_bias = to[1];
  v.scale->fold(kernels_, values(v.scale), f);
}

Tape Plan::attack_tape(Arena& arena, Index rows) const { return tape(inference_, arena, rows, false); }
Tape Plan::training_tape(Arena& arena, Index rows) const { return tape(training_, arena, rows, true); }

Tape Plan::tape(const std::vector<Lowered>& layers, Arena& arena, Index rows, bool keep_gradients) const {
  const Index lanes = keep_gradients ? 1 : this->lanes(rows);
  rows = (rows + lanes - 1) / lanes * lanes;
  Tape tape;
  Index widest = 0;
  for (const Lowered& l : layers) widest = std::max(widest, l.layer->out);
  Rows shared[2];
  if (!keep_gradients)
    for (Rows& buffer : shared) buffer = arena.take_rows(rows, widest);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Index out = layers[i].layer->out;
    tape.out.push_back(arena.take_rows(rows, out));
    const bool keep_input = derivative_needs_input(layers[i].activation.kind);
    tape.pre.push_back(keep_input ? arena.take_rows(rows, out) : Rows{});
    tape.gradient.push_back(keep_gradients ? arena.take_rows(rows, out) : shared[i % 2]);
    const Index statistics = keep_gradients ? layers[i].layer->statistics_floats() : 0;
    tape.statistics.push_back(statistics ? arena.take<float>(statistics) : nullptr);
  }
  return tape;
}

// ---- passes ----

std::unique_ptr<Pass> Plan::open(const Context& context, Arena& arena, Index rows) const {
  return std::make_unique<PlanPass>(*this, context, attack_tape(arena, rows));
}

void PlanPass::drop(std::size_t i, Index rows, Rows values) const {
  const float p = layers_[i].layer->dropout();
  if (p == 0.0f || !draw_->ids) return;
  // Layers of one step draw from streams of their own.
  const auto salt = static_cast<std::uint32_t>((3u << 24) + static_cast<std::uint32_t>(i));
  plan_.kernels().dropout(context_.stream, p, rows, layers_[i].layer->out, values.data, values.ld, draw_->ids,
                          draw_->seed + (static_cast<std::uint64_t>(draw_->step) << 32), salt);
}

Stage PlanPass::stage(std::size_t i, Index rows, Rows x) const {
  Stage s;
  s.rows = rows;
  s.features = layers_[i].layer->in;
  s.x = i == 0 ? x : tape_.out[i - 1];
  s.y = tape_.out[i];
  s.statistics = tape_.statistics[i];
  return s;
}

// Element-wise layers see a block of images as one long row.
void PlanPass::widen(std::size_t i, Stage& s) const {
  if (!layers_[i].images || !layers_[i].layer->is_elementwise()) return;
  s.rows = context_.blocks(s.rows);
  s.features *= context_.lanes;
  for (Rows* rows : {&s.x, &s.y, &s.dy, &s.dx}) rows->ld *= context_.lanes;
  s.end.saved_ld *= context_.lanes;
}

Rows PlanPass::forward(Index rows, Rows x) {
  forward(rows, x, 0, layers_.size());
  return tape_.out.back();
}

void PlanPass::forward(Index rows, Rows x, std::size_t first, std::size_t last) {
  context_.lanes = draw_ ? 1 : plan_.lanes(rows);
  for (std::size_t i = first; i < last; ++i) {
    const Lowered& l = layers_[i];
    Stage s = stage(i, rows, x);
    s.end.activation = l.activation;
    s.end.pre_activation = tape_.pre[i].data;
    widen(i, s);
    l.layer->forward(context_, l.packed, s);
    drop(i, rows, tape_.out[i]);
  }
}

void PlanPass::begin_backward(Index rows) {
  const Lowered& l = layers_.back();
  const Rows saved = tape_.pre.back().data ? tape_.pre.back() : tape_.out.back(), dy = tape_.gradient.back();
  if (l.activation.kind != Activation::identity)
    plan_.kernels().activation_backward(context_.stream, l.activation, rows, l.layer->out, saved.data, saved.ld,
                                        dy.data, dy.ld);
}

void PlanPass::backward(Index rows, Rows x, Rows dx, const SignStep* step) {
  begin_backward(rows);
  backward(rows, x, layers_.size() - 1, 0);
  backward_layer(0, rows, x, dx, step);
}

bool PlanPass::dense(DenseModel& model) const {
  if (draw_ || layers_.size() > DenseModel::kMost) return false;
  model.count = static_cast<int>(layers_.size());
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Lowered& l = layers_[i];
    if (derivative_needs_input(l.activation.kind) || !l.layer->dense(l.packed, model.layer[i])) return false;
    model.layer[i].activation = l.activation;
  }
  return true;
}

void PlanPass::backward(Index rows, Rows x, std::size_t last, std::size_t first) {
  for (std::size_t i = last; i > first; --i) backward_layer(i, rows, x, tape_.gradient[i - 1], nullptr);
}

void PlanPass::backward_layer(std::size_t i, Index rows, Rows x, Rows dx, const SignStep* step) {
  drop(i, rows, tape_.gradient[i]);
  Stage s = stage(i, rows, x);
  s.dy = tape_.gradient[i];
  s.dx = dx;
  s.sparse = i + 1 < layers_.size() && layers_[i + 1].layer->sparse_gradient();
  s.end.step = step;
  if (i > 0 && layers_[i - 1].activation.kind != Activation::identity) {
    const Rows saved = tape_.pre[i - 1].data ? tape_.pre[i - 1] : tape_.out[i - 1];
    s.end.derivative = layers_[i - 1].activation;
    s.end.saved = saved.data;
    s.end.saved_ld = saved.ld;
  }
  widen(i, s);
  layers_[i].layer->backward(context_, layers_[i].packed, s);
}

}  // namespace epsball
