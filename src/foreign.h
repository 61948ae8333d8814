// A model outside the engine: its owner computes logits and their pullback, the engine everything else.
#pragma once

#include <functional>

#include "target.h"

namespace epsball {

// What the owner supplies, in rows without gaps; what it throws ends the call.
class ForeignCalls {
 public:
  virtual ~ForeignCalls() = default;
  // logits (rows, classes) of x (rows, features); what backward needs stays with the owner.
  virtual void forward(Index rows, const float* x, float* logits) = 0;
  // dx (rows, features): the gradient of the sum of dlogits * logits with respect to the last forward's x.
  virtual void backward(Index rows, const float* dlogits, float* dx) = 0;
};

class Foreign : public Target {
 public:
  using Open = std::function<std::unique_ptr<ForeignCalls>()>;

  // `slab_rows` is the most rows that one call is given.
  Foreign(const Kernels& kernels, Index features, Index classes, Index slab_rows, Open open)
      : kernels_(kernels), features_(features), classes_(classes), slab_rows_(slab_rows), open_(std::move(open)) {}

  const Kernels& kernels() const override { return kernels_; }
  Index features() const override { return features_; }
  Index classes() const override { return classes_; }
  Index multiply_adds() const override { return features_; }
  Index largest_product() const override { return features_; }
  Index floats_per_row() const override { return 2 * (features_ + classes_); }
  bool fuses_step() const override { return false; }
  Index slab_rows() const override { return slab_rows_; }
  std::unique_ptr<Pass> open(const Context& context, Arena& arena, Index rows) const override;

  ArenaPool& arenas() { return arenas_; }

 private:
  const Kernels& kernels_;
  const Index features_, classes_, slab_rows_;
  const Open open_;
  ArenaPool arenas_;
};

}  // namespace epsball
