// A model lowered for one table: activations fused into the layer below, weights packed, and passes over slabs.
#pragma once

#include <map>
#include <vector>

#include "target.h"

namespace epsball {

using Layers = std::vector<std::unique_ptr<Layer>>;

// One layer of the plan with the activation it carries.
struct Lowered {
  const Layer* layer = nullptr;
  ActivationSpec activation;
  bool images = false;  // its output is images, see Images
  float* packed = nullptr;
};

// The values that a forward pass leaves for the backward pass, per lowered layer.
struct Tape {
  std::vector<Rows> out, pre, gradient;  // gradient: of `out`; pre: only where the derivative needs it
  std::vector<float*> statistics;        // of the whole batch, where a layer gathers some

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

  Index slab_tile() const override;  // slabs of so many rows, or multiples, waste nothing

  // How many rows a pass over `rows` of them interleaves between layers of images.
  Index lanes(Index rows) const;

  // What training passes read beside what inference does is packed from the first call of this on.
  void prepare_training();

  // A layer's parameters where kernels read and train them; on the host they are the model's own, on a device copies,
  // which pack() takes from the model and which download() puts back.
  const Values& values(const Layer* layer) const { return held_.at(layer).values; }
  void download() const;

  // Weights changed: pack them again, all or part by part. Parts are independent of each other; inference reads the
  // first so many, training all from one on.
  void pack();
  Index pack_parts() const { return static_cast<Index>(parts_.size()); }
  Index inference_parts() const { return inference_parts_; }
  Index first_training_part() const { return first_training_part_; }
  void pack_part(Index part) const;

  // For attacks: gradients of neighbouring layers share two buffers. For training: every gradient is kept.
  Tape attack_tape(Arena& arena, Index rows) const;
  Tape training_tape(Arena& arena, Index rows) const;

 private:
  bool has_images() const;
  std::vector<Lowered> lower(const Layers& layers, bool training);
  void arrange(std::vector<Lowered>& plan, const Layer* next);
  Tape tape(const std::vector<Lowered>& layers, Arena& arena, Index rows, bool keep_gradients) const;

  // A layer of the model in the form that inference wants it, with a scale folded in or on images.
  struct Variant {
    const Layer *base, *scale;
    Layer* copy;
  };
  Layer* vary(const Layer* base, const Layer* scale, std::unique_ptr<Layer> copy);
  const Variant* variant_of(const Layer* layer) const;
  void refresh(const Variant& v) const;

  // A stretch of packed weights that one task writes.
  struct Part {
    const Layer* layer;
    float* packed;
    Index first, count;  // of the layer's own parts
  };
  void place(const std::vector<const Layer*>& layers);

  // A layer's parameters in the table's memory: on the host its own.
  struct Held {
    Layer* layer;
    Values values;
    std::vector<Memory> copies;
  };
  void hold(Layer& layer);
  void upload() const;
  const Kernels& kernels_;
  Index features_, classes_;
  Layers own_;  // variants, and what stands between rows and images
  std::vector<Variant> variants_;
  std::vector<Lowered> inference_, training_;
  std::map<const Layer*, Held> held_;
  std::vector<Memory> packed_;
  std::vector<Part> parts_;
  Index inference_parts_ = 0, first_training_part_ = 0;
  bool trains_ = false;
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
  bool dense(DenseModel&) const override;

  // Forward through layers [first, last); backward from the gradient of `last`'s output to that of `first`'s. Training
  // goes by parts where layers gather statistics of a batch on the way.
  void forward(Index rows, Rows x, std::size_t first, std::size_t last);
  void backward(Index rows, Rows x, std::size_t last, std::size_t first);
  // From the gradient of the first layer's output, which the above has left, to that of x, or into the step.
  void backward_input(Index rows, Rows x, Rows dx, const SignStep* step) { backward_layer(0, rows, x, dx, step); }
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
