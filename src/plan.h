// A model lowered for one table: activations fused into the layer below, weights packed, and passes over slabs.
#pragma once

#include <vector>

#include "layers/layer.h"
#include "pass.h"
#include "slab.h"

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
  std::vector<float*> statistics;        // of the whole batch, where a layer gathers some

  // The same tape from row `first` on.
  Tape from(Index first) const;
};

class Plan {
 public:
  Plan(const Layers& layers, const Kernels& kernels);

  const Kernels& kernels() const { return kernels_; }
  Index features() const { return features_; }
  Index classes() const { return classes_; }
  Index multiply_adds() const;    // of one forward pass of one row
  Index largest_product() const;  // of one layer
  Index floats_per_row() const;   // of an attack's tape

  // Without dropout, and with.
  const std::vector<Lowered>& inference() const { return inference_; }
  const std::vector<Lowered>& training() const { return training_; }
  const float* packed(const Lowered& l) const { return packed_.get() + l.packed; }

  // How many rows a pass over `rows` of them interleaves between layers of images.
  Index lanes(Index rows) const;

  // Weights changed: pack them again, all or part by part. Parts are independent of each other.
  void pack();
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
  struct Fold {
    const Layer *base, *scale;
    Layer* copy;  // base with scale folded in
    Index packed;
  };
  void fold(const Fold& f);

  Layers own_;  // what stands between rows and images, and layers with another folded in
  std::vector<Fold> folds_;
  std::vector<Lowered> inference_, training_;
  std::unique_ptr<float, Free> packed_;
};

// What dropout needs to draw the same mask forward and backward: a row's id and a counter of the step. Without ids
// nothing is dropped.
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

  // Forward through layers [first, last); backward from the gradient of `last`'s output to that of `first`'s. Training
  // goes by parts where layers gather statistics of a batch on the way.
  void forward(Index rows, Rows x, std::size_t first, std::size_t last);
  void backward(Index rows, Rows x, std::size_t last, std::size_t first);
  // Turns the gradient of the logits into that of the last layer's sums, under its activation.
  void begin_backward(Index rows);

 private:
  Stage stage(std::size_t i, Index rows, Rows x) const;
  void widen(std::size_t i, Stage& s) const;
  void backward_layer(std::size_t i, Index rows, Rows x, Rows dx, const SignStep* step);
  void drop(std::size_t i, Index rows, Rows values) const;

  const Plan& plan_;
  Context context_;
  Tape tape_;
  const DropoutDraw* draw_;
  const std::vector<Lowered>& layers_;
};

}  // namespace epsball
