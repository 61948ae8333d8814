// Lowering, packing and the passes.
#include "plan.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "combine.h"
#include "layers/activation.h"
#include "layers/arrange.h"
#include "layers/batch_norm_channel.h"
#include "region_pass.h"

namespace epsball {

namespace {

Index bytes_of(const Parameter& p) { return static_cast<Index>(p.value.size() * sizeof(float)); }

bool holds(const std::vector<Lowered>& plan, const Layer* layer) {
  return std::any_of(plan.begin(), plan.end(), [&](const Lowered& l) { return l.layer == layer; });
}

// How many layers take the model's input, then how many take each layer's output.
std::vector<Index> readers_of(const Layers& layers) {
  std::vector<Index> readers(layers.size() + 1);
  for (const auto& layer : layers)
    for (const Index read : layer->reads) ++readers[static_cast<std::size_t>(read + 1)];
  return readers;
}

// Tells every layer which of its inputs' gradients it opens and closes.
void connect(std::vector<Lowered>& plan) {
  std::vector<Input*> before(plan.size());
  for (std::size_t i = plan.size(); i-- > 0;)
    for (Input& input : plan[i].inputs) {
      const bool sparse = plan[i].layer->sparse_gradient();
      Lowered& below = plan[input.of];
      Input*& last = before[input.of];
      below.sparse = sparse && (!last || below.sparse);
      input.opens = !last;
      if (last) last->closes = false;
      last = &input;
    }
}

// Gives gradients the buffers of an attack: each lies in one from where it is opened until its own layer has passed it
// on.
void assign_buffers(std::vector<Lowered>& plan) {
  std::vector<std::size_t> idle{1, 0};
  std::size_t count = 2;
  const auto take = [&] {
    if (idle.empty()) return count++;
    const std::size_t buffer = idle.back();
    idle.pop_back();
    return buffer;
  };
  plan.back().buffer = take();
  for (std::size_t i = plan.size(); i-- > 0;) {
    for (const Input& input : plan[i].inputs)
      if (input.opens) plan[input.of].buffer = take();
    idle.push_back(plan[i].buffer);
  }
}

std::size_t buffers(const std::vector<Lowered>& plan) {
  std::size_t count = 2;
  for (const Lowered& l : plan) count = std::max(count, l.buffer + 1);
  return count;
}

bool adds_gradients(const std::vector<Lowered>& plan) {
  return std::any_of(plan.begin(), plan.end(), [](const Lowered& l) {
    return std::any_of(l.inputs.begin(), l.inputs.end(), [](const Input& input) { return !input.opens; });
  });
}

std::vector<Input> inputs_at(std::optional<std::size_t> at) {
  return at ? std::vector<Input>{{*at}} : std::vector<Input>{};
}

}  // namespace

// Where a value lies. The model's input, if several layers take it, is copied once by the first layer of the plan.
std::optional<std::size_t> Plan::place_of(std::vector<Lowered>& plan, const Value& value) {
  if (value.at) return value.at;
  if (plan.empty()) {
    if (!value.shared) return std::nullopt;
    own_.push_back(std::make_unique<ActivationLayer>(features_, ActivationSpec{}));
    plan.push_back({own_.back().get(), {}, {}, {}});
  }
  return 0;
}

// The same value as rows, or as images if those are wanted, rearranged once for all that take it so.
std::optional<std::size_t> Plan::arranged(std::vector<Lowered>& plan, std::optional<std::size_t> at,
                                          const std::optional<Image>& wanted) {
  const std::optional<Image> images = at ? plan[*at].images : std::nullopt;
  if (images.has_value() == wanted.has_value()) return at;
  for (std::size_t i = at ? *at + 1 : plan.size(); i < plan.size(); ++i)
    if (dynamic_cast<const Arrange*>(plan[i].layer) && plan[i].inputs.front().of == *at) return i;
  const Arrangement to = wanted ? Arrangement::to_images : Arrangement::to_rows;
  own_.push_back(std::make_unique<Arrange>(wanted ? *wanted : *images, to));
  plan.push_back({own_.back().get(), inputs_at(at), {}, wanted});
  return plan.size() - 1;
}

Layer* Plan::vary(const Layer* base, const Layer* scale, std::unique_ptr<Layer> copy) {
  variants_.push_back({base, scale, copy.get()});
  own_.push_back(std::move(copy));
  return variants_.back().copy;
}

// Whether the scale is part of the layer below from now on.
bool Plan::fold(Lowered& below, const Layer& scale) {
  auto copy = below.layer->copy_with_bias();
  // Behind a Flatten, features are more than the channels below.
  if (!copy || static_cast<Index>(copy->parameters[1].value.size()) != scale.folds()) return false;
  if (!variants_.empty() && variants_.back().copy == below.layer && !variants_.back().scale)
    variants_.back().scale = &scale;
  else
    below.layer = vary(below.layer, &scale, std::move(copy));
  return true;
}

void Plan::append(std::vector<Lowered>& plan, const Layer& layer, const std::vector<Value>& inputs, bool training) {
  std::vector<std::optional<std::size_t>> places;
  for (const Value& input : inputs) places.push_back(place_of(plan, input));
  std::optional<Image> image;  // of the inputs that are images
  bool alike = true;           // behind a Flatten two of them may have the same features, but other pixels
  for (const auto& at : places) {
    if (!at || !plan[*at].images) continue;
    alike = !image || *image == *plan[*at].images;
    image = plan[*at].images;
  }
  const Layer* next = &layer;
  if (!training && image)
    if (auto copy = layer.copy_on_images(*image)) next = vary(&layer, nullptr, std::move(copy));
  if (next->images())
    image = next->images()->in;
  else if (!next->is_elementwise() || !alike)
    image.reset();
  std::vector<Input> from;
  for (const auto& at : places)
    if (const auto place = arranged(plan, at, image)) from.push_back({*place});
  if (next->images()) image = next->images()->out;
  plan.push_back({next, std::move(from), layer.activation(), image});
}

std::vector<Lowered> Plan::lower(const Layers& layers, bool training) {
  std::vector<Lowered> plan;
  std::vector<Value> values;  // the model's input, then what its layers give
  for (const Index readers : readers_of(layers)) values.push_back({std::nullopt, readers > 1});
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Layer& layer = *layers[i];
    std::vector<Value> inputs;
    for (const Index read : layer.reads) inputs.push_back(values[static_cast<std::size_t>(read + 1)]);
    const Value& below = inputs.front();
    Value& value = values[i + 1];
    value.at = below.at;
    if (layer.is_identity() || (layer.dropout() > 0.0f && !training)) {
      value.shared |= below.shared;
      continue;
    }
    const bool open = below.at && !below.shared && plan[*below.at].activation.kind == Activation::identity;
    if (open && !training && layer.folds() > 0 && fold(plan[*below.at], layer)) continue;
    if (open && layer.activation().kind != Activation::identity && plan[*below.at].layer->takes_epilogue()) {
      plan[*below.at].activation = layer.activation();
      continue;
    }
    append(plan, layer, inputs, training);
    value.at = plan.size() - 1;
  }
  if (plan.empty()) throw std::invalid_argument("layers: none of them computes anything");
  arranged(plan, values.back().at, std::nullopt);
  connect(plan);
  assign_buffers(plan);
  return plan;
}

Tape Tape::from(Index first) const {
  Tape tape = *this;
  for (auto* list : {&tape.out, &tape.pre, &tape.gradient})
    for (Rows& rows : *list)
      if (rows.data) rows.data += first * rows.ld;
  if (tape.more.data) tape.more.data += first * tape.more.ld;
  return tape;
}

Plan::Plan(const Layers& layers, const Kernels& kernels)
    : kernels_(kernels),
      features_(layers.front()->in),
      classes_(layers.back()->out),
      inference_(lower(layers, false)),
      training_(lower(layers, true)) {
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

// Three blocks of images at least: dense weights on top are read once for all.
Index Plan::slab_tile() const { return has_images() ? 3 * kernels_.lanes : kernels_.tile_rows; }

Index Plan::block() const { return has_images() ? kernels_.lanes : 1; }

bool Plan::has_images() const {
  return std::any_of(inference_.begin(), inference_.end(), [](const Lowered& l) { return l.images.has_value(); });
}

// A block costs the same however many of its lanes are filled; rows one by one run at half its speed or less.
Index Plan::lanes(Index rows) const { return 2 * rows > block() ? block() : 1; }

Index Plan::floats_per_row() const {
  Index total = 0, widest = 0;
  for (const Lowered& l : inference_) {
    total += padded(l.layer->out) * (derivative_needs_input(l.activation.kind) ? 2 : 1);
    widest = std::max(widest, padded(l.layer->out));
  }
  return total + static_cast<Index>(buffers(inference_) + (adds_gradients(inference_) ? 1 : 0)) * widest;
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
  std::vector<Rows> shared(keep_gradients ? 0 : buffers(layers));
  for (Rows& buffer : shared) buffer = arena.take_rows(rows, widest);
  if (adds_gradients(layers)) tape.more = arena.take_rows(rows, widest);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Index out = layers[i].layer->out;
    tape.out.push_back(arena.take_rows(rows, out));
    const bool keep_input = derivative_needs_input(layers[i].activation.kind);
    tape.pre.push_back(keep_input ? arena.take_rows(rows, out) : Rows{});
    tape.gradient.push_back(keep_gradients ? arena.take_rows(rows, out) : shared[layers[i].buffer]);
    const Index statistics = keep_gradients ? layers[i].layer->statistics_floats() : 0;
    tape.statistics.push_back(statistics ? arena.take<float>(statistics) : nullptr);
  }
  return tape;
}

// ---- passes ----

std::unique_ptr<Pass> Plan::open(const Context& context, Arena& arena, Index rows) const {
  return std::make_unique<PlanPass>(*this, context, attack_tape(arena, rows));
}

std::unique_ptr<RegionPass> Plan::open_regions(const Context& context, Arena& arena, Index rows) const {
  if (PlanRegionPass::local_layers(*this) == 0) return nullptr;
  return std::make_unique<PlanRegionPass>(*this, context, arena, rows);
}

Index Plan::region_floats_per_row() const { return PlanRegionPass::floats_per_row(*this); }

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
  const std::vector<Input>& inputs = layers_[i].inputs;
  s.x = inputs.empty() ? x : tape_.out[inputs[0].of];
  if (inputs.size() > 1) s.other = tape_.out[inputs[1].of];
  s.y = tape_.out[i];
  s.statistics = tape_.statistics[i];
  return s;
}

// Element-wise layers see a block of images as one long row.
void PlanPass::widen(std::size_t i, Stage& s) const {
  if (!layers_[i].images || !layers_[i].layer->is_elementwise()) return;
  s.rows = context_.blocks(s.rows);
  s.features *= context_.lanes;
  for (Rows* rows : {&s.x, &s.other, &s.y, &s.dy, &s.dx}) rows->ld *= context_.lanes;
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
    if (!takes_pattern(i)) s.end.activation = l.activation;
    s.end.pre_activation = tape_.pre[i].data;
    widen(i, s);
    l.layer->forward(context_, l.packed, s);
    if (takes_pattern(i)) apply_derivative(i, rows, tape_.out[i]);
    drop(i, rows, tape_.out[i]);
  }
}

bool PlanPass::takes_pattern(std::size_t i) const {
  const Activation kind = layers_[i].activation.kind;
  return !pattern_.out.empty() && (kind == Activation::relu || kind == Activation::leaky_relu);
}

Rows PlanPass::saved(std::size_t i) const {
  const Tape& tape = takes_pattern(i) ? pattern_ : tape_;
  return tape.pre[i].data ? tape.pre[i] : tape.out[i];
}

// Multiplies by the derivative of the activation that layer i carries.
void PlanPass::apply_derivative(std::size_t i, Index rows, Rows values) const {
  const Lowered& l = layers_[i];
  const Rows from = saved(i);
  plan_.kernels().activation_backward(context_.stream, l.activation, rows, l.layer->out, from.data, from.ld,
                                      values.data, values.ld);
}

void PlanPass::begin_backward(Index rows) {
  const std::size_t last = layers_.size() - 1;
  if (layers_[last].activation.kind != Activation::identity) apply_derivative(last, rows, tape_.gradient[last]);
}

void PlanPass::backward(Index rows, Rows x, Rows dx, const SignStep* step) {
  begin_backward(rows);
  backward(rows, x, layers_.size() - 1, 0);
  backward_input(rows, x, dx, step);
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
  for (std::size_t i = last; i > first; --i) backward_layer(i, rows, x);
}

Stage PlanPass::backward_stage(std::size_t i, Index rows, Rows x, Rows dx) const {
  Stage s = stage(i, rows, x);
  s.dy = tape_.gradient[i];
  s.dx = dx;
  s.sparse = layers_[i].sparse;
  return s;
}

void PlanPass::backward_input(Index rows, Rows x, Rows dx, const SignStep* step) {
  drop(0, rows, tape_.gradient[0]);
  Stage s = backward_stage(0, rows, x, dx);
  s.end.step = step;
  layers_[0].layer->backward(context_, layers_[0].packed, s);
}

void PlanPass::backward_layer(std::size_t i, Index rows, Rows x) {
  drop(i, rows, tape_.gradient[i]);
  for (const Input& input : layers_[i].inputs) {
    Stage s = backward_stage(i, rows, x, input.opens ? tape_.gradient[input.of] : tape_.more);
    if (input.opens && input.closes) s.end = derivative_of(input.of);
    widen(i, s);
    layers_[i].layer->backward(context_, layers_[i].packed, s);
    if (!input.opens) add_gradient(input, rows);
  }
}

// What turns the gradient of a layer's output into that of its sums, under its activation.
Epilogue PlanPass::derivative_of(std::size_t i) const {
  Epilogue end;
  if (layers_[i].activation.kind == Activation::identity) return end;
  const Rows from = saved(i);
  end.derivative = layers_[i].activation;
  end.saved = from.data;
  end.saved_ld = from.ld;
  return end;
}

void PlanPass::add_gradient(const Input& input, Index rows) const {
  const Lowered& l = layers_[input.of];
  const Index lanes = l.images ? context_.lanes : 1;
  const Rows to = tape_.gradient[input.of];
  const Rows wide{to.data, to.ld * lanes};
  const CombineRows sum = sum_of({{wide.data, wide.ld}, {tape_.more.data, tape_.more.ld * lanes}},
                                 (rows + lanes - 1) / lanes, l.layer->out * lanes, wide);
  context_.kernels.combine(context_.stream, sum);
  if (!input.closes) return;
  Epilogue end = derivative_of(input.of);
  end.saved_ld *= lanes;
  finish_backward(context_, sum.rows, sum.features, wide, end);
}

}  // namespace epsball
