// One-versus-one read-out by the table's kernels.
#include "layers/one_vs_one.h"

namespace epsball {

void OneVsOne::forward(const Context& context, const float*, const Stage& s) const {
  OneVsOneRows a;
  a.rows = s.rows;
  a.classes = out;
  a.x = s.x.data;
  a.ldx = s.x.ld;
  a.y = s.y.data;
  a.ldy = s.y.ld;
  context.kernels.one_vs_one_forward(context.stream, a);
}

void OneVsOne::backward(const Context& context, const float*, const Stage& s) const {
  OneVsOneRows a;
  a.rows = s.rows;
  a.classes = out;
  a.x = s.x.data;
  a.ldx = s.x.ld;
  a.dy = s.dy.data;
  a.lddy = s.dy.ld;
  a.dx = s.dx.data;
  a.lddx = s.dx.ld;
  context.kernels.one_vs_one_backward(context.stream, a);
  finish_backward(context, s.rows, in, s.dx, s.end);
}

}  // namespace epsball
