// A model lowered for one table: activations fused into the layer below, weights packed, and passes over slabs.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "target.h"

namespace epsball {

using Layers = std::vector<std::unique_ptr<Layer>>;

// A value that a lowered layer takes: the output of the layer `of` below it. On the way back every layer that takes a
// value adds to its gradient: the first opens it, and after the last the derivative of the value's activation follows.
struct Input {
  std::size_t of;
  bool opens = true, closes = true;
};

// One layer of the plan with the activation it carries.
struct Lowered {
  const Layer* layer = nullptr;
  std::vector<Input> inputs;  // none: the model's input, which the first layer takes and no other; two: of a sum
  ActivationSpec activation;
  std::optional<Image> images;  // its output is images of this shape, see Images
  float* packed = nullptr;
  bool sparse = false;     // the gradient of its output is mostly zeros
  std::size_t buffer = 0;  // where an attack keeps that gradient
};

// The values that a forward pass leaves for the backward pass, per lowered layer.
struct Tape {
  std::vector<Rows> out, pre, gradient;  // gradient: of `out`; pre: only where the derivative needs it
  std::vector<float*> statistics;        // of the whole batch, where a layer gathers some
  Rows more;                             // what a layer adds to a gradient that is open

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
  std::unique_ptr<RegionPass> open_regions(const Context& context, Arena& arena, Index rows) const override;
  Index region_floats_per_row() const override;

  // Without dropout, and with.
  const std::vector<Lowered>& inference() const { return inference_; }
  const std::vector<Lowered>& training() const { return training_; }

  Index slab_tile() const override;  // rows: slabs of a multiple leave no tile partly filled
  Index block() const override;

  // How many rows a pass over `rows` of them interleaves between layers of images.
  Index lanes(Index rows) const;

  // What training passes read beside what inference does is packed from the first call of this on.
  void prepare_training();

  // A layer's parameters where kernels read and train them; on the host they are the model's own, on a device copies,
  // which pack() takes from the model and which download() puts back.
  const Values& values(const Layer* layer) const { return held_.at(layer).values; }
  void download() const;

  // Weights changed: pack them again, all or part by part, in any order. Inference reads parts [0, inference_parts),
  // training [first_training_part, pack_parts).
  void pack();
  Index pack_parts() const { return static_cast<Index>(parts_.size()); }
  Index inference_parts() const { return inference_parts_; }
  Index first_training_part() const { return first_training_part_; }
  void pack_part(Index part) const;

  // For attacks: gradients share buffers, two where layers are a chain. For training: every gradient is kept.
  Tape attack_tape(Arena& arena, Index rows) const;
  Tape training_tape(Arena& arena, Index rows) const;

 private:
  bool has_images() const;
  // What a layer of the model gives: the output of a lowered layer, or the model's input as it is; and whether several
  // layers take it, so that none may change it.
  struct Value {
    std::optional<std::size_t> at;
    bool shared = false;
  };
  std::vector<Lowered> lower(const Layers& layers, bool training);
  bool fold(Lowered& below, const Layer& scale);
  void append(std::vector<Lowered>& plan, const Layer& layer, const std::vector<Value>& inputs, bool training);
  std::optional<std::size_t> place_of(std::vector<Lowered>& plan, const Value& value);
  std::optional<std::size_t> arranged(std::vector<Lowered>& plan, std::optional<std::size_t> at,
                                      const std::optional<Image>& wanted);
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

// Passes of one slab through a plan; `draw` switches to the training layers. With the tape of a `pattern`, other rows
// that went forward, piecewise linear activations take their piece from these.
class PlanPass : public Pass {
 public:
  PlanPass(const Plan& plan, const Context& context, Tape tape, const DropoutDraw* draw = nullptr, Tape pattern = {})
      : plan_(plan),
        context_(context),
        tape_(std::move(tape)),
        pattern_(std::move(pattern)),
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
  void backward_input(Index rows, Rows x, Rows dx, const SignStep* step);
  // Turns the gradient of the logits into that of the last layer's sums, under its activation.
  void begin_backward(Index rows);

 private:
  Stage stage(std::size_t i, Index rows, Rows x) const;
  void widen(std::size_t i, Stage& s) const;
  Stage backward_stage(std::size_t i, Index rows, Rows x, Rows dx) const;
  void backward_layer(std::size_t i, Index rows, Rows x);
  Epilogue derivative_of(std::size_t i) const;
  void add_gradient(const Input& input, Index rows) const;
  void drop(std::size_t i, Index rows, Rows values) const;
  bool takes_pattern(std::size_t i) const;
  void apply_derivative(std::size_t i, Index rows, Rows values) const;
  Rows saved(std::size_t i) const;  // what the derivative of the activation that layer i carries is a function of

  const Plan& plan_;
  Context context_;
  Tape tape_, pattern_;
  const DropoutDraw* draw_;
  const std::vector<Lowered>& layers_;
};

}  // namespace epsball
