// Boxes of inputs through a plan: bounds of all that its layers can give (interval bound propagation, Gowal et al.
// 2018).
//
// A box is a centre and a radius. An affine layer carries the centre like any row, and its companion, a layer of the
// absolute weights, the radius; a maximum or an activation that never falls carries both ends.
#pragma once

#include "plan.h"

namespace epsball {

// The layers that carry the radii through a plan's training layers. The plan outlives them.
class Companions {
 public:
  // Layers without an entry of their own carry radii themselves.
  struct Companion {
    const Layer* layer = nullptr;
    const float* packed = nullptr;
    std::unique_ptr<Layer> own;
    Values values, gradient;  // of own, in memory of the table; the gradient is the caller's to write
  };

  explicit Companions(const Plan& plan);

  // The plan's weights have changed.
  void pack(Interruption& interruption);
  const Companion& at(std::size_t layer) const { return companions_[layer]; }
  // Adds what the gradients of absolute weights are to the weights: `gradient` is that of the layer's parameters.
  void add_gradient(std::size_t layer, float* const* gradient) const;

 private:
  const Plan& plan_;
  const Kernels& k_;
  std::vector<Companion> companions_;
  std::vector<Memory> memory_;
};

// The centres and radii of boxes between ends (rows, n).
void box_between(const Context&, Index rows, Index n, Rows lower, Rows upper, Rows centre, Rows radius);

// What a pass over boxes leaves for its backward pass beside the tapes of centres and radii: both ends of what monotone
// layers take, and of what they and activations give.
struct Ends {
  Rows lower, upper;
};
struct EndsTape {
  std::vector<Ends> in, out;

  EndsTape(const Plan& plan, Arena& arena, Index rows);
  // The same from row `first` on.
  EndsTape from(Index first) const;
};

// Buffers of one slab.
struct IntervalScratch {
  Rows rows[4];

  IntervalScratch(const Plan& plan, Arena& arena, Index rows);
};

// Passes of one slab of boxes; dropout is off and batch normalisation goes by its running statistics.
class IntervalPass {
 public:
  IntervalPass(const Plan& plan, const Companions& companions, const Context& context, Tape centre, Tape radius,
               EndsTape ends, const IntervalScratch& scratch)
      : plan_(plan),
        companions_(companions),
        context_(context),
        centre_(std::move(centre)),
        radius_(std::move(radius)),
        ends_(std::move(ends)),
        scratch_(scratch) {}

  // `outward` widens every radius by more than float32 can be wrong by, here and in passes through the plan itself.
  void forward(Index rows, Rows centre, Rows radius, bool outward);
  // From the gradients of the logits' centres and radii, on the tapes, to those of the sums of layer `lowest`.
  void backward(Index rows, Rows centre, Rows radius, std::size_t lowest);

 private:
  void carry_ends(std::size_t i, Index rows, Rows centre, Rows radius) const;
  void carry_box(std::size_t i, Index rows, Rows centre, Rows radius, bool outward) const;
  void activate(std::size_t i, Index rows) const;
  void widen(Index rows, Index n, float share, Rows centre, Rows radius, Rows to) const;
  void ends_gradients(std::size_t i, Index rows) const;
  void backward_ends(std::size_t i, Index rows) const;
  void backward_box(std::size_t i, Index rows, Rows centre, Rows radius) const;
  Stage stage(std::size_t i, Index rows, Rows x, const Tape& tape) const;
  Rows gradient_into(const Tape& tape, const Input& input) const;
  void add_gradient(const Tape& tape, const Input& input, Index rows) const;
  bool is_monotone(std::size_t i) const { return plan_.training()[i].layer->intervals() == Intervals::monotone; }

  const Plan& plan_;
  const Companions& companions_;
  const Context context_;
  Tape centre_, radius_;
  EndsTape ends_;
  IntervalScratch scratch_;
};

// Bounds (rows, classes) of the logits over the boxes between the rows of `low` and `high`, outward.
void call_bounds(const Plan& plan, ArenaPool& arenas, Interruption& interruption, const Array& low, const Array& high,
                 float* lower, float* upper);

}  // namespace epsball
