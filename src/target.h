// What attacks and calls need to know of a model, and how they open passes through it. Plans implement it; so do models
// outside the engine.
#pragma once

#include <memory>

#include "layers/layer.h"
#include "pass.h"
#include "slab.h"

namespace epsball {

class Target {
 public:
  virtual ~Target() = default;

  virtual const Kernels& kernels() const = 0;
  virtual Index features() const = 0;
  virtual Index classes() const = 0;
  virtual Index multiply_adds() const = 0;    // of one forward pass of one row
  virtual Index largest_product() const = 0;  // of one layer that a team can share
  virtual Index floats_per_row() const = 0;   // of an attack's pass
  // Whether a pass goes backward into the attack's step without storing the gradient.
  virtual bool fuses_step() const = 0;
  // Slabs of a multiple of this many rows leave no vector or tile partly filled.
  virtual Index slab_tile() const { return 1; }
  // The rows of a slab, which a single worker runs then; 0: what suits caches and threads.
  virtual Index slab_rows() const { return 0; }
  // Rows that cost the same together, however few of them there are; half as many or fewer go by themselves.
  virtual Index block() const { return 1; }

  // A pass through at most `rows` rows at a time, its buffers cut from the arena.
  virtual std::unique_ptr<Pass> open(const Context& context, Arena& arena, Index rows) const = 0;
  // Passes by regions, and the floats per row that they take; null where the model has no layers that gain by them.
  virtual std::unique_ptr<RegionPass> open_regions(const Context&, Arena&, Index /*rows*/) const { return nullptr; }
  virtual Index region_floats_per_row() const { return 0; }
};

}  // namespace epsball
