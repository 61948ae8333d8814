// Passes of intervals over a batch's boxes.
#include "training/batch_boxes.h"

namespace epsball {

void BatchBoxes::make(const Batch& b, Index first, Index rows) const {
  const Index d = b.features;
  const Rows x = at(b, Source::clean, first), low{lower, d}, high{upper, d};
  context.kernels.limits(nullptr, {rows, d, x.data, d, b.radius + first, b.box_lo, b.box_hi, nullptr, 0, lower, upper});
  box_between(context, rows, d, low, high, at(b, Source::centre, first), at(b, Source::radius, first));
}

IntervalPass BatchBoxes::pass(const Batch& b, Index first) const {
  const Index radii = (b.parts() - 1) * b.rows + first, centres = radii - b.rows;
  return {plan, companions, context, b.tape.from(centres), b.tape.from(radii), b.ends->from(first), scratch};
}

// The gradient of the logits starts at 0: only the pair's loss adds to it.
void BatchBoxes::forward(const Batch& b, Index first, Index rows) const {
  pass(b, first).forward(rows, at(b, Source::centre, first), at(b, Source::radius, first), false);
  const Rows d = b.tape.gradient.back();
  for (Index part = b.parts() - 2; part < b.parts(); ++part)
    context.kernels.fill(nullptr, d.data + (part * b.rows + first) * d.ld, 0,
                         rows * d.ld * static_cast<Index>(sizeof(float)));
}

void BatchBoxes::backward(const Batch& b, Index first, Index rows, std::size_t lowest) const {
  pass(b, first).backward(rows, at(b, Source::centre, first), at(b, Source::radius, first), lowest);
}

}  // namespace epsball
