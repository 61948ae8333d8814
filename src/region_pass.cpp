// Which layers go by regions, and the passes.
#include "region_pass.h"

#include <algorithm>

#include "layers/window.h"

namespace epsball {
namespace {

Context one_by_one(Context context) {
  context.lanes = 1;
  return context;
}

bool slides(const Lowered& l) { return l.layer->reach() == Reach::window; }

// How many outputs along an axis read one of `changed` neighbouring inputs, on average.
double readers(const Axis& axis, double changed) {
  const double count = (changed + static_cast<double>(axis.kernel) - 1.0) / static_cast<double>(axis.stride);
  return std::min(count, static_cast<double>(axis.out()));
}

}  // namespace

// The input must be images, of which the first layer of windows says the shape.
std::size_t PlanRegionPass::local_layers(const Plan& plan) {
  const std::vector<Lowered>& layers = plan.inference();
  const auto first = std::find_if(layers.begin(), layers.end(), [](const Lowered& l) { return slides(l); });
  if (!plan.kernels().conv_region || first == layers.end()) return 0;
  if (first->layer->images()->in.features() != plan.features()) return 0;
  const auto end =
      std::find_if(layers.begin(), layers.end(), [](const Lowered& l) { return l.layer->reach() == Reach::all; });
  return first < end ? static_cast<std::size_t>(end - layers.begin()) : 0;
}

Index PlanRegionPass::floats_per_row(const Plan& plan) {
  if (local_layers(plan) == 0) return 0;
  Index total = 0;
  for (const Lowered& l : plan.inference()) total += padded(l.layer->out) * (slides(l) ? 2 : 1);
  return total;
}

PlanRegionPass::PlanRegionPass(const Plan& plan, const Context& context, Arena& arena, Index rows)
    : plan_(plan),
      context_(one_by_one(context)),
      layers_(plan.inference()),
      local_(local_layers(plan)),
      image_(std::find_if(layers_.begin(), layers_.end(), slides)->layer->images()->in),
      changed_(arena.take<Region>(rows)) {
  const auto moved = [&](Index features) {
    const Rows r = arena.take_rows(rows, features);
    buffers_.push_back({r.data, r.ld * static_cast<Index>(sizeof(float))});
    return r;
  };
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Lowered& l = layers_[i];
    if (i < local_ && slides(l))
      values_.push_back({moved(l.layer->out), moved(l.layer->out), arena.take<Region>(rows)});
    else
      values_.push_back({arena.take_rows(rows, l.layer->out), {}, arena.take<Region>(rows)});
  }
}

double PlanRegionPass::share(int parts, Index tall, Index wide) const {
  struct Side {
    double down, across;
  };
  std::vector<Side> sides;
  double total = 0.0;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Lowered& l = layers_[i];
    const auto all = static_cast<double>(l.layer->multiply_adds());
    if (i >= local_) {
      total += all;
      continue;
    }
    Side side{static_cast<double>(tall), static_cast<double>(wide)};
    if (!l.inputs.empty()) side = {0.0, 0.0};
    for (const Input& input : l.inputs)
      side = {std::max(side.down, sides[input.of].down), std::max(side.across, sides[input.of].across)};
    if (slides(l)) {
      const Window& w = *l.layer->window();
      side = {readers(w.down, side.down), readers(w.across, side.across)};
      const double part = side.down * side.across / static_cast<double>(w.down.out() * w.across.out());
      total += all * std::min(parts * part, 1.0);
    } else {
      total += all;
    }
    sides.push_back(side);
  }
  return total / static_cast<double>(plan_.multiply_adds());
}

Stage PlanRegionPass::stage(std::size_t i, Index rows, Rows x) const {
  const Lowered& l = layers_[i];
  Stage s;
  s.rows = rows;
  s.features = l.layer->in;
  s.x = l.inputs.empty() ? x : values_[l.inputs[0].of].now;
  if (l.inputs.size() > 1) s.other = values_[l.inputs[1].of].now;
  s.y = values_[i].now;
  s.end.activation = l.activation;
  return s;
}

void PlanRegionPass::forward_whole(std::size_t i, Index rows, Rows x) const {
  layers_[i].layer->forward(context_, layers_[i].packed, stage(i, rows, x));
}

void PlanRegionPass::forward_region(std::size_t i, Index rows, Rows x) const {
  const Lowered& l = layers_[i];
  const Kernels& k = context_.kernels;
  const Region* changed = l.inputs.empty() ? changed_ : values_[l.inputs[0].of].region;
  Region* const region = values_[i].region;
  if (slides(l)) return l.layer->forward_region(context_, l.packed, stage(i, rows, x), changed, region);
  forward_whole(i, rows, x);
  k.copy(context_.stream, region, changed, rows * static_cast<Index>(sizeof(Region)));
  if (l.inputs.size() > 1) k.join_regions(context_.stream, rows, values_[l.inputs[1].of].region, region);
}

void PlanRegionPass::begin(Index rows, Rows x) {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    forward_whole(i, rows, x);
    const Value& v = values_[i];
    if (v.kept.data)
      context_.kernels.copy_rows(context_.stream, rows, layers_[i].layer->out, v.now.data, v.now.ld, v.kept.data,
                                 v.kept.ld, nullptr, nullptr);
  }
}

Rows PlanRegionPass::forward(Index rows, Rows x, Rows kept) {
  context_.kernels.changed_regions(
      context_.stream, {rows, image_.channels, image_.height, image_.width, x.data, kept.data, x.ld, changed_});
  for (std::size_t i = 0; i < layers_.size(); ++i) i < local_ ? forward_region(i, rows, x) : forward_whole(i, rows, x);
  return values_.back().now;
}

void PlanRegionPass::settle(Index rows, const std::uint8_t* keep) {
  for (std::size_t i = 0; i < local_; ++i) {
    const Value& v = values_[i];
    if (!v.kept.data) continue;
    const Image out = layers_[i].layer->images()->out;
    context_.kernels.settle_regions(context_.stream,
                                    {rows, out.width, out.channels, v.region, keep, v.now.data, v.kept.data, v.now.ld});
  }
}

}  // namespace epsball
