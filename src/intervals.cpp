// Interval passes in terms of the table's kernels: products, sums of two terms, activations.
#include "intervals.h"

#include <algorithm>

#include "combine.h"
#include "slabs.h"
#include "staging.h"

namespace epsball {
namespace {

constexpr ActivationSpec kAbsolute{Activation::leaky_relu, -1.0f};

constexpr float kRoundings = 0x1p-22f;  // four units in the last place, relative

Index bytes_of(const Parameter& p) { return static_cast<Index>(p.value.size() * sizeof(float)); }
Index count_of(const Parameter& p) { return static_cast<Index>(p.value.size()); }

bool by_absolute_value(const Parameter& p) { return p.name == "weight" || p.name == "running_var"; }

Index widest(const Plan& plan) {
  Index most = plan.features();
  for (const Lowered& l : plan.training()) most = std::max(most, l.layer->out);
  return most;
}

// Twice what a sum of as many products as the layer's outputs are can be off by, relative to the sum of the absolute
// products: once for the centre, once for what a pass through the plan itself computes.
float rounding_of(const Layer& layer) {
  return kRoundings * static_cast<float>(layer.multiply_adds() / std::max<Index>(layer.out, 1) + 16);
}

// to = p a + q b.
void sum(const Context& context, Index rows, Index n, float p, Rows a, float q, Rows b, Rows to) {
  context.kernels.combine(context.stream,
                          sum_of({{a.data, a.ld, nullptr, p}, {b.data, b.ld, nullptr, q}}, rows, n, to));
}

void ends_of(const Context& context, Index rows, Index n, Rows centre, Rows radius, Rows lower, Rows upper) {
  sum(context, rows, n, 1.0f, centre, -1.0f, radius, lower);
  sum(context, rows, n, 1.0f, centre, 1.0f, radius, upper);
}

}  // namespace

void box_between(const Context& context, Index rows, Index n, Rows lower, Rows upper, Rows centre, Rows radius) {
  sum(context, rows, n, 0.5f, lower, 0.5f, upper, centre);
  sum(context, rows, n, -0.5f, lower, 0.5f, upper, radius);
}

// ---- companions ----

Companions::Companions(const Plan& plan) : plan_(plan), k_(plan.kernels()) {
  for (const Lowered& l : plan.training()) {
    Companion c{l.layer, l.packed, l.layer->companion(), {}, {}};
    if (c.own) {
      c.layer = c.own.get();
      for (const Parameter& p : c.own->parameters)
        for (Values* values : {&c.values, &c.gradient}) {
          memory_.emplace_back(k_, bytes_of(p));
          values->push_back(memory_.back().as<float>());
          k_.fill(nullptr, values->back(), 0, bytes_of(p));
        }
      memory_.emplace_back(k_, padded(c.own->packed_floats()) * static_cast<Index>(sizeof(float)));
      auto* const packed = memory_.back().as<float>();
      c.own->pack_constants(k_, packed);
      c.packed = packed;
    }
    companions_.push_back(std::move(c));
  }
}

void Companions::pack(Interruption& interruption) {
  struct Part {
    const Companion* companion;
    Index part;
  };
  std::vector<Part> parts;
  for (std::size_t i = 0; i < companions_.size(); ++i) {
    const Companion& c = companions_[i];
    if (!c.own) continue;
    for (std::size_t p = 0; p < c.values.size(); ++p) {
      const Parameter& parameter = c.own->parameters[p];
      const Index n = count_of(parameter);
      const float* const from = plan_.values(plan_.training()[i].layer)[p];
      if (by_absolute_value(parameter)) k_.activation_forward(nullptr, kAbsolute, 1, n, from, n, c.values[p], n);
    }
    for (Index part = 0; part < c.own->pack_parts(k_); ++part) parts.push_back({&c, part});
  }
  const double work = k_.device ? 0.0 : 4.0 * static_cast<double>(plan_.multiply_adds());
  for_tasks(static_cast<Index>(parts.size()), work, interruption, [&](Index t) {
    const auto [c, part] = parts[static_cast<std::size_t>(t)];
    c->own->pack(k_, c->values, const_cast<float*>(c->packed), part);
  });
  if (k_.device) k_.device->finish(nullptr);
}

// d|w| / dw = sign(w).
void Companions::add_gradient(std::size_t layer, float* const* gradient) const {
  const Companion& c = companions_[layer];
  for (std::size_t p = 0; p < c.values.size(); ++p) {
    const Parameter& parameter = c.own->parameters[p];
    const Index n = count_of(parameter);
    if (!by_absolute_value(parameter)) continue;
    const float* const weight = plan_.values(plan_.training()[layer].layer)[p];
    k_.activation_backward(nullptr, kAbsolute, 1, n, weight, n, c.gradient[p], n);
    k_.combine(nullptr, sum_of({{gradient[p], n}, {c.gradient[p], n}}, 1, n, {gradient[p], n}));
  }
}

// ---- buffers ----

EndsTape::EndsTape(const Plan& plan, Arena& arena, Index rows) {
  const auto take = [&](bool wanted, Index features) {
    return wanted ? Ends{arena.take_rows(rows, features), arena.take_rows(rows, features)} : Ends{};
  };
  for (const Lowered& l : plan.training()) {
    const bool monotone = l.layer->intervals() == Intervals::monotone;
    in.push_back(take(monotone, l.layer->in));
    out.push_back(take(monotone || l.activation.kind != Activation::identity, l.layer->out));
  }
}

EndsTape EndsTape::from(Index first) const {
  EndsTape tape = *this;
  for (auto* list : {&tape.in, &tape.out})
    for (Ends& ends : *list)
      for (Rows* rows : {&ends.lower, &ends.upper})
        if (rows->data) rows->data += first * rows->ld;
  return tape;
}

IntervalScratch::IntervalScratch(const Plan& plan, Arena& arena, Index count) {
  for (Rows& each : rows) each = arena.take_rows(count, widest(plan));
}

// ---- forward ----

// `x`: of the model's input.
Stage IntervalPass::stage(std::size_t i, Index rows, Rows x, const Tape& tape) const {
  const std::vector<Input>& inputs = plan_.training()[i].inputs;
  Stage s;
  s.rows = rows;
  s.features = plan_.training()[i].layer->in;
  s.x = inputs.empty() ? x : tape.out[inputs[0].of];
  if (inputs.size() > 1) s.other = tape.out[inputs[1].of];
  s.y = tape.out[i];
  return s;
}

// to = radius + share (|centre| + radius).
void IntervalPass::widen(Index rows, Index n, float share, Rows centre, Rows radius, Rows to) const {
  const Rows size = scratch_.rows[3];
  context_.kernels.activation_forward(context_.stream, kAbsolute, rows, n, centre.data, centre.ld, size.data, size.ld);
  sum(context_, rows, n, 1.0f + share, radius, share, size, to);
}

void IntervalPass::forward(Index rows, Rows centre, Rows radius, bool outward) {
  if (outward && is_monotone(0)) {  // later ones are given boxes that have been widened
    widen(rows, plan_.features(), kRoundings, centre, radius, scratch_.rows[0]);
    radius = scratch_.rows[0];
  }
  for (std::size_t i = 0; i < plan_.training().size(); ++i) {
    is_monotone(i) ? carry_ends(i, rows, centre, radius) : carry_box(i, rows, centre, radius, outward);
    const Index n = plan_.training()[i].layer->out;
    if (outward) widen(rows, n, kRoundings, centre_.out[i], radius_.out[i], radius_.out[i]);
  }
}

void IntervalPass::carry_ends(std::size_t i, Index rows, Rows centre, Rows radius) const {
  const Lowered& l = plan_.training()[i];
  const Ends &in = ends_.in[i], &out = ends_.out[i];
  ends_of(context_, rows, l.layer->in, stage(i, rows, centre, centre_).x, stage(i, rows, radius, radius_).x, in.lower,
          in.upper);
  for (const auto& [x, y] : {std::pair{in.lower, out.lower}, std::pair{in.upper, out.upper}}) {
    Stage s = stage(i, rows, centre, centre_);
    s.x = x;
    s.y = y;
    s.end.activation = l.activation;
    l.layer->forward(context_, l.packed, s);
  }
  box_between(context_, rows, l.layer->out, out.lower, out.upper, centre_.out[i], radius_.out[i]);
}

void IntervalPass::carry_box(std::size_t i, Index rows, Rows centre, Rows radius, bool outward) const {
  const Lowered& l = plan_.training()[i];
  const Companions::Companion& companion = companions_.at(i);
  const Stage of_centre = stage(i, rows, centre, centre_);
  Stage of_radius = stage(i, rows, radius, radius_);
  l.layer->forward(context_, l.packed, of_centre);
  if (outward) {
    widen(rows, l.layer->in, rounding_of(*l.layer), of_centre.x, of_radius.x, scratch_.rows[0]);
    of_radius.x = scratch_.rows[0];
  }
  companion.layer->forward(context_, companion.packed, of_radius);
  if (l.activation.kind == Activation::identity) return;
  if (outward) widen(rows, l.layer->out, kRoundings, centre_.out[i], radius_.out[i], radius_.out[i]);
  activate(i, rows);
}

void IntervalPass::activate(std::size_t i, Index rows) const {
  const Lowered& l = plan_.training()[i];
  const Index n = l.layer->out;
  const Rows centre = centre_.out[i], radius = radius_.out[i];
  const auto& [lower, upper] = ends_.out[i];
  ends_of(context_, rows, n, centre, radius, lower, upper);
  for (const Rows& y : {lower, upper})
    context_.kernels.activation_forward(context_.stream, l.activation, rows, n, y.data, y.ld, y.data, y.ld);
  box_between(context_, rows, n, lower, upper, centre, radius);
}

// ---- backward ----

void IntervalPass::backward(Index rows, Rows centre, Rows radius, std::size_t lowest) {
  for (std::size_t i = plan_.training().size() - 1;; --i) {
    const bool monotone = is_monotone(i), active = plan_.training()[i].activation.kind != Activation::identity;
    if (monotone || active) ends_gradients(i, rows);
    if (active && !monotone) {
      const Index n = plan_.training()[i].layer->out;
      sum(context_, rows, n, 1.0f, scratch_.rows[0], 1.0f, scratch_.rows[1], centre_.gradient[i]);
      sum(context_, rows, n, -1.0f, scratch_.rows[0], 1.0f, scratch_.rows[1], radius_.gradient[i]);
    }
    if (i == lowest) return;
    monotone ? backward_ends(i, rows) : backward_box(i, rows, centre, radius);
  }
}

// The gradients of both ends of what layer i gives, below its activation, into the first two buffers.
void IntervalPass::ends_gradients(std::size_t i, Index rows) const {
  const Lowered& l = plan_.training()[i];
  const Index n = l.layer->out;
  const Rows lower = scratch_.rows[0], upper = scratch_.rows[1];
  sum(context_, rows, n, 0.5f, centre_.gradient[i], -0.5f, radius_.gradient[i], lower);
  sum(context_, rows, n, 0.5f, centre_.gradient[i], 0.5f, radius_.gradient[i], upper);
  if (l.activation.kind == Activation::identity) return;
  for (const auto& [d, y] : {std::pair{lower, ends_.out[i].lower}, std::pair{upper, ends_.out[i].upper}})
    context_.kernels.activation_backward(context_.stream, l.activation, rows, n, y.data, y.ld, d.data, d.ld);
}

void IntervalPass::backward_ends(std::size_t i, Index rows) const {
  const Lowered& l = plan_.training()[i];
  for (int end = 0; end < 2; ++end) {
    const Rows x = end ? ends_.in[i].upper : ends_.in[i].lower, y = end ? ends_.out[i].upper : ends_.out[i].lower;
    Stage s = stage(i, rows, x, centre_);
    s.x = x;
    s.y = y;
    s.dy = scratch_.rows[end];
    s.dx = scratch_.rows[2 + end];
    l.layer->backward(context_, l.packed, s);
  }
  for (const auto& [tape, sign] : {std::pair{&centre_, 1.0f}, std::pair{&radius_, -1.0f}}) {
    const Rows to = gradient_into(*tape, l.inputs[0]);
    sum(context_, rows, l.layer->in, sign, scratch_.rows[2], 1.0f, scratch_.rows[3], to);
    add_gradient(*tape, l.inputs[0], rows);
  }
}

// Where a layer writes what it passes to one of its inputs, before add_gradient.
Rows IntervalPass::gradient_into(const Tape& tape, const Input& input) const {
  return input.opens ? tape.gradient[input.of] : tape.more;
}

void IntervalPass::add_gradient(const Tape& tape, const Input& input, Index rows) const {
  const Rows to = tape.gradient[input.of];
  if (!input.opens) sum(context_, rows, plan_.training()[input.of].layer->out, 1.0f, to, 1.0f, tape.more, to);
}

void IntervalPass::backward_box(std::size_t i, Index rows, Rows centre, Rows radius) const {
  const Lowered& l = plan_.training()[i];
  const Companions::Companion& companion = companions_.at(i);
  const auto pass = [&](const Layer& layer, const float* packed, Rows x, const Tape& tape) {
    for (const Input& input : l.inputs) {
      Stage s = stage(i, rows, x, tape);
      s.dy = tape.gradient[i];
      s.dx = gradient_into(tape, input);
      layer.backward(context_, packed, s);
      add_gradient(tape, input, rows);
    }
  };
  pass(*l.layer, l.packed, centre, centre_);
  pass(*companion.layer, companion.packed, radius, radius_);
}

// ---- the call ----

void call_bounds(const Plan& plan, ArenaPool& arenas, Interruption& interruption, const Array& low, const Array& high,
                 float* lower, float* upper) {
  const Kernels& k = plan.kernels();
  const Index features = plan.features(), classes = plan.classes();
  Staging staging(k, arenas);
  const Array from = staging.in(low), to = staging.in(high);
  lower = staging.out(lower, low.rows * classes);
  upper = staging.out(upper, low.rows * classes);
  Companions companions(plan);
  companions.pack(interruption);
  constexpr double kPasses = 2.0;
  const Index floats = 4 * padded(features) + 6 * plan.floats_per_row();
  Job job = job_on(plan, arenas, interruption, low.rows, floats, kPasses);
  job.largest_product = 0;  // threads share the rows out, never a layer
  for_slabs(job, [&](Worker& w) {
    const Stream stream = w.context.stream;
    Rows box[2], end[2];
    for (Rows* rows : {&box[0], &box[1], &end[0], &end[1]}) *rows = w.arena.take_rows(w.slab_rows, features);
    const Tape centre = plan.training_tape(w.arena, w.slab_rows), radius = plan.training_tape(w.arena, w.slab_rows);
    IntervalPass pass(plan, companions, w.context, centre, radius, EndsTape(plan, w.arena, w.slab_rows),
                      IntervalScratch(plan, w.arena, w.slab_rows));
    for (Index first, rows; w.next(first, rows);) {
      k.load_rows(stream, from, nullptr, first, rows, end[0].data, end[0].ld);
      k.load_rows(stream, to, nullptr, first, rows, end[1].data, end[1].ld);
      box_between(w.context, rows, features, end[0], end[1], box[0], box[1]);
      pass.forward(rows, box[0], box[1], true);
      const Rows z = centre.out.back(), r = radius.out.back();
      ends_of(w.context, rows, classes, z, r, {lower + first * classes, classes}, {upper + first * classes, classes});
    }
  });
  staging.finish();
}

}  // namespace epsball
