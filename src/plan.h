// A model lowered for one table: activations fused into the layer below, weights packed, and passes over slabs.
#pragma once

#include <vector>

#include "target.h"

namespace epsball {

using Layers = std::vector<std::unique_ptr<Layer>>;

// One layer of the plan with the activation it carries.
struct Lowered {
  const Layer* layer = nullptr;
  ActivationSpec activation;
  bool images = false;  // its output is images, see Images
  Index packed = 0;     // offset into the plan's packed weights
};

// The values that a forward pass leaves for the backward pass, per lowered layer.
struct Tape {
  std::vector<Rows> out, pre, gradient;  // gradient: of `out`; pre: only where the derivative needs it

  // The same tape from row `first` on.
  Tape from(Index first) const;
};

class Plan : public Target {
 public:
  Plan(const Layers& layers, const Kernels& kernels);

  const Kernels& kernels() const override { return kernels_; }
  Index features() const override { return features_; }
  Index classes() const override { return classes_; }
  Index multiply_adds() const override;
  Index largest_product() const override;
  Index floats_per_row() const override;
  bool fuses_step() const override { return inference_.front().layer->fuses_step(); }
  std::unique_ptr<Pass> open(const Context& context, Arena& arena, Index rows) const override;

  // Without dropout, and with.
  const std::vector<Lowered>& inference() const { return inference_; }
  const std::vector<Lowered>& training() const { return training_; }
  const float* packed(const Lowered& l) const { return packed_.get() + l.packed; }

  // How many rows a pass over `rows` of them interleaves between layers of images.
  Index lanes(Index rows) const;

  // Weights changed: pack them again. Parts are independent of each other.
  Index pack_parts() const;
  void pack_part(Index part);

  // For attacks: gradients of neighbouring layers share two buffers. For training: every gradient is kept.
  Tape attack_tape(Arena& arena, Index rows) const;
  Tape training_tape(Arena& arena, Index rows) const;

 private:
  std::vector<Lowered> lower(const Layers& layers, bool training);
  void arrange(std::vector<Lowered>& plan, const Layer* next);
  Tape tape(const std::vector<Lowered>& layers, Arena& arena, Index rows, bool keep_gradients) const;

  struct Free {
    void operator()(float* p) const { ::operator delete(p, std::align_val_t{64}); }
  };
  const Kernels& kernels_;
  Index features_, classes_;
  Layers own_;  // what stands between rows and images
  std::vector<Lowered> inference_, training_;
  std::unique_ptr<float, Free> packed_;
};

// What dropout needs to draw the same mask forward and backward: a row's id and a counter of the step.
struct DropoutDraw {
  const Index* ids = nullptr;
  std::uint64_t seed = 0;
  std::uint32_t step = 0;
};

// Passes of one slab through a plan; `draw` switches to the training layers.
class PlanPass : public Pass {
 public:
  PlanPass(const Plan& plan, const Context& context, Tape tape, const DropoutDraw* draw = nullptr)
      : plan_(plan),
        context_(context),
        tape_(std::move(tape)),
        draw_(draw),
        layers_(draw ? plan.training() : plan.inference()) {}

  Rows forward(Index rows, Rows x) override;
  Rows dlogits() override { return tape_.gradient.back(); }
  void backward(Index rows, Rows x, Rows dx, const SignStep* step) override;
  // The gradients of all layers' outputs, without the gradient of x.
  void backward_to_first(Index rows, Rows x) { backward(rows, x, {}, nullptr); }

 private:
  Stage stage(std::size_t i, Index rows, Rows x) const;
  void widen(std::size_t i, Stage& s) const;
  void drop(std::size_t i, Index rows, Rows values) const;

  const Plan& plan_;
  Context context_;
  Tape tape_;
  const DropoutDraw* draw_;
  const std::vector<Lowered>& layers_;
};

}  // namespace epsball
