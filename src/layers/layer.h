// What a layer is to the engine: parameters, and its forward and backward passes in terms of the table's kernels.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "dense.h"
#include "dispatch.h"
#include "executor.h"
#include "kernels.h"

namespace epsball {

struct Parameter {
  std::string name;  // "weight", "bias"
  std::vector<Index> shape;
  std::vector<float> value;
  bool trained = true;
  bool non_negative = false;  // a variance
};
using Parameters = std::vector<Parameter>;
using Values = std::vector<float*>;  // of a layer's parameters, in memory of the table

// Multiply-adds of a single row that several threads share: some 2 microseconds, where handing over the row and half of
// the result costs less than 1.
inline constexpr Index kWorthSharing = 60000;
inline bool worth_sharing(Index multiply_adds) { return multiply_adds >= kWorthSharing || shares_all(); }

// Panels of a packed matrix.
inline Index panels(const Kernels& k, Index columns) { return (columns + k.panel - 1) / k.panel; }

// What every pass through a layer is given: the table, the stream and the threads that share a product.
struct Context {
  const Kernels& kernels;
  Stream stream = nullptr;
  Team* team = nullptr;
  Index lanes = 1;  // rows that are interleaved between layers of images, see Images

  // Blocks of images, and how far apart they are in a buffer whose rows lie `ld` apart.
  Index blocks(Index rows) const { return (rows + lanes - 1) / lanes; }
  // Calls work(first, last) for all of a product's columns: whole panels for each of the team, if the product is large
  // enough to be worth waking it.
  template <class Work>
  void split(Index columns, Index multiply_adds, Work work) const;
  void gemm(const Gemm& g) const;
};

template <class Work>
void Context::split(Index columns, Index multiply_adds, Work work) const {
  const Index panels = (columns + kernels.panel - 1) / kernels.panel;
  if (!team || team->size() == 1 || panels < 2 || !worth_sharing(multiply_adds)) {
    work(Index{0}, columns);
    return;
  }
  const Index share = (panels + team->size() - 1) / team->size() * kernels.panel;
  team->split([&](int part) {
    const Index first = part * share, last = std::min(columns, first + share);
    if (first < last) work(first, last);
  });
}

// (channels, height, width) of one row.
struct Image {
  Index channels = 1, height = 1, width = 1;

  Index pixels() const { return height * width; }
  Index features() const { return channels * pixels(); }
  bool operator==(const Image&) const = default;
};

// Layers of images hold them channels last, `lanes` rows interleaved: value c of pixel p of row r of a block stands at
// (p * channels + c) * lanes + r. So a slab is computed with the rows in the lanes of a vector, whatever the number of
// channels, stride and padding; and a few rows, one by one, with the channels there. The plan rearranges rows where
// such layers begin and end.
struct Images {
  Image in, out;
};

// One layer's part of a pass.
struct Stage {
  Index rows = 0;
  Index features = 0;           // of x, for element-wise layers: in, or all that a block of images holds
  Rows x, y;                    // input and output of the forward pass, y after the activation the layer carries
  Rows other;                   // the second input of a sum
  Rows dy, dx;                  // their gradients, in the backward pass only
  bool sparse = false;          // dy is mostly zeros
  float* statistics = nullptr;  // of the batch, in training passes of layers that gather some
  Epilogue end;
};

// One part of the gradient of a layer's parameters, over all rows of a batch.
struct GradientPart {
  Index part = 0;
  const float* packed = nullptr;
  Index rows = 0;
  Rows x, dy;
  float* const* gradient = nullptr;  // gradient[i] belongs to parameters[i]
  float* scratch = nullptr;          // gradient_scratch floats
};

// How a layer carries intervals, each given by its centre and its radius.
enum class Intervals {
  none,      // it does not
  affine,    // the centre like any row, the radius by the layer's companion
  monotone,  // no output falls where an input rises: either end like any row
};

// What an output reads of its input, both being images: what a changed region of the input changes.
enum class Reach {
  all,
  pixel,   // its own, in whatever channel
  window,  // a few neighbouring ones: Layer::window
};

struct Window;

class Layer {
 public:
  Layer(Index in, Index out) : in(in), out(out) {}
  virtual ~Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  const Index in, out;  // features of one row
  Parameters parameters;
  std::string name;          // in its model: "3", or "3.body.0" inside a residual block
  std::vector<Index> reads;  // places in the model of the layers whose outputs it takes, -1 being the model's input

  // An element-wise activation is carried by the layer below where that one can (takes_epilogue).
  virtual ActivationSpec activation() const { return {}; }
  virtual bool takes_epilogue() const { return false; }
  // Whether the gradient it passes down is mostly zeros.
  virtual bool sparse_gradient() const { return false; }
  // Whether backward can end in the attack's step without storing the gradient.
  virtual bool fuses_step() const { return false; }
  // Its shapes, if it is a layer of images.
  virtual const Images* images() const { return nullptr; }
  // Treats every value by itself, in rows and in images alike.
  virtual bool is_elementwise() const { return false; }
  // The channels that this layer scales, or 0. Outside training such a layer is folded into the layer below, if that
  // one's copy_with_bias has as many outputs.
  virtual Index folds() const { return 0; }
  virtual void fold(const Kernels&, const Values& /*own*/, FoldChannels& /*below*/) const {}
  virtual std::unique_ptr<Layer> copy_with_bias() const { return nullptr; }
  // The same for inputs that are images, where that saves rearranging them.
  virtual std::unique_ptr<Layer> copy_on_images(Image) const { return nullptr; }
  virtual Reach reach() const { return is_elementwise() ? Reach::pixel : Reach::all; }
  virtual const Window* window() const { return nullptr; }
  // Of one row's forward pass.
  virtual Index multiply_adds() const { return in; }
  // Describes a linear layer but for its activation; another is none.
  virtual bool dense(const float* /*packed*/, DenseLayer&) const { return false; }
  // Whether it spreads a single row over the team.
  virtual bool shares() const { return false; }
  // The share of inputs a training pass drops; such a layer is left out of inference.
  virtual float dropout() const { return 0.0f; }
  // Nothing to compute (Flatten).
  virtual bool is_identity() const { return false; }

  virtual Intervals intervals() const { return Intervals::none; }
  // A layer of the same kind for the radii, where they need other parameters: "weight" and "running_var" by their
  // absolute values, all others 0.
  virtual std::unique_ptr<Layer> companion() const { return nullptr; }

  // What its passes read, weights as the table's products want them and all else: `packed_floats` floats. Constants are
  // written once; what depends on parameters in `pack_parts` independent parts from `values`: its own parameters, or
  // those of the layer it is a copy of.
  virtual Index packed_floats() const { return 0; }
  virtual void pack_constants(const Kernels&, float* /*packed*/) const {}
  virtual Index pack_parts(const Kernels&) const { return 0; }
  virtual void pack(const Kernels&, const Values& /*values*/, float* /*packed*/, Index /*part*/) const {}

  // y = epilogue(f(x)).
  virtual void forward(const Context&, const float* packed, const Stage&) const = 0;
  // The same for the outputs that a pixel of changed(i) is read by, which become region(i); for layers of windows.
  virtual void forward_region(const Context&, const float* /*packed*/, const Stage&, const Region* /*changed*/,
                              Region* /*region*/) const {}
  // dx = epilogue(df^T dy).
  virtual void backward(const Context&, const float* packed, const Stage&) const = 0;

  // Gradient of the parameters from a whole batch, in `gradient_parts` independent parts. What it needs of the
  // parameters it reads from `packed`, as passes do: a load_parameters beside it may be writing to them.
  virtual Index gradient_parts(const Kernels&) const { return 0; }
  virtual Index gradient_scratch(const Kernels&, Index /*rows*/) const { return 0; }
  virtual void gradient(const Kernels&, const GradientPart&) const {}

  // Layers that look at the whole batch while training: forward runs after gather_forward has seen all of its rows,
  // backward after gather_backward, which also leaves the gradient of the parameters. What lies between is in
  // `statistics`; parameter gradients outside training start from running_statistics, those of the packed weights.
  virtual Index statistics_floats() const { return 0; }
  virtual void running_statistics(const Kernels&, const float* /*packed*/, float* /*statistics*/) const {}
  virtual void gather_forward(const Kernels&, const float* /*packed*/, Index /*rows*/, Rows /*x*/,
                              float* /*statistics*/) const {}
  virtual void gather_backward(const Kernels&, Index /*rows*/, Rows /*x*/, Rows /*dy*/, float* /*statistics*/,
                               float* const* /*gradient*/) const {}
  virtual void keep_statistics(const Kernels&, const Values& /*own*/, Index /*rows*/, float* /*statistics*/) const {}
};

// Does with kernels what a product would have done in its epilogue on the way back: dx times a derivative, into x.
void finish_backward(const Context& context, Index rows, Index n, Rows dx, const Epilogue& end);
// The same where dx holds images of `features` values.
void finish_images(const Context& context, const Stage& s, Index features);
// Backward of the identity: dx = epilogue(dy).
void pass_gradient_on(const Context& context, const Stage& s);

}  // namespace epsball
