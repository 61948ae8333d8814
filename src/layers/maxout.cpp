// Maxout by the table's kernels.
#include "layers/maxout.h"

namespace epsball {

MaxoutRows Maxout::rows(const Stage& s) const {
  return {s.rows, out, pieces_, s.x.data, s.x.ld, s.y.data, s.y.ld, s.dy.data, s.dy.ld, s.dx.data, s.dx.ld};
}

void Maxout::forward(const Context& context, const float*, const Stage& s) const {
  context.kernels.maxout_forward(context.stream, rows(s));
}

void Maxout::backward(const Context& context, const float*, const Stage& s) const {
  context.kernels.maxout_backward(context.stream, rows(s));
  finish_backward(context, s.rows, in, s.dx, s.end);
}

}  // namespace epsball
