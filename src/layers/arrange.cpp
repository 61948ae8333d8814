// Rearrangement forward, its inverse backward.
#include "layers/arrange.h"

namespace epsball {

void Arrange::arrange(const Context& context, Index rows, Rows from, Rows to, bool to_images) const {
  context.kernels.arrange(context.stream, {rows, context.lanes, image_.channels, image_.pixels(), from.data, from.ld,
                                           to.data, to.ld, to_images});
}

void Arrange::backward(const Context& context, const float*, const Stage& s) const {
  arrange(context, s.rows, s.dy, s.dx, to_ == Arrangement::to_rows);
  if (to_ == Arrangement::to_images)
    finish_backward(context, s.rows, in, s.dx, s.end);
  else
    finish_images(context, s, in);
}

}  // namespace epsball
