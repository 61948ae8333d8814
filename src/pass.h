// A model opened for one slab: all that attacks and trainers need of it. Plans implement it; so do models outside the
// engine.
#pragma once

#include "dense.h"

namespace epsball {

class Pass {
 public:
  virtual ~Pass() = default;
  // The logits (rows, classes) of x; what backward needs stays inside.
  virtual Rows forward(Index rows, Rows x) = 0;
  // Where the caller writes the logits' gradient before backward.
  virtual Rows dlogits() = 0;
  // The gradient with respect to x of the last forward, into dx; or, if `step` is given, straight into step->x.
  virtual void backward(Index rows, Rows x, Rows dx, const SignStep* step) = 0;
  // Describes what it goes through, if that is linear layers only; if not, says so.
  virtual bool dense(DenseModel&) const { return false; }
};

}  // namespace epsball
