// A model opened for one slab: all that attacks and trainers need of it. Plans implement it; so do models outside the
// engine.
#pragma once

#include <vector>

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

// Forward passes of rows each of which differs in a region of its image from one whose values are kept: what the region
// does not reach is not computed again. The bits are those of a Pass.
class RegionPass {
 public:
  virtual ~RegionPass() = default;
  // What a forward costs where regions are `parts` rectangles of tall x wide pixels, as a part of a whole pass's
  // multiply-adds.
  virtual double share(int parts, Index tall, Index wide) const = 0;
  // Keeps the values of x.
  virtual void begin(Index rows, Rows x) = 0;
  // The logits of x; `kept`, of the same stride, is what begin or settle kept.
  virtual Rows forward(Index rows, Rows x, Rows kept) = 0;
  // Keeps the values of the last forward's rows where keep[i].
  virtual void settle(Index rows, const std::uint8_t* keep) = 0;
  // What moves up when rows leave.
  virtual const std::vector<RowBuffer>& buffers() const = 0;
};

}  // namespace epsball
