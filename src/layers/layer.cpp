// Passes shared by all layers.
#include "layers/layer.h"

namespace epsball {

void Context::gemm(const Gemm& g) const {
  split(g.n, g.m * g.k * g.n, [&](Index first, Index last) {
    Gemm mine = g;
    mine.first = first;
    mine.last = last;
    kernels.gemm(stream, mine);
  });
}

void finish_backward(const Context& context, Index rows, Index n, Rows dx, const Epilogue& end) {
  const Kernels& k = context.kernels;
  if (end.saved)
    k.activation_backward(context.stream, end.derivative, rows, n, end.saved, end.saved_ld, dx.data, dx.ld);
  if (end.step) {
    const SignStep& s = *end.step;
    if (s.best) k.copy_rows(context.stream, rows, n, s.x, s.ld, s.best, s.ld, s.slot, s.improved);
    StepRows step;
    step.ball = {Norm::linf, rows, n, s.x, s.x, s.lo, s.hi, s.ld, nullptr};
    step.gradient = dx.data;
    step.gradient_ld = dx.ld;
    step.size = s.size;
    step.moving = s.moving;
    k.step(context.stream, step);
  }
}

void finish_images(const Context& context, const Stage& s, Index features) {
  Epilogue end = s.end;
  end.saved_ld *= context.lanes;
  finish_backward(context, context.blocks(s.rows), features * context.lanes, {s.dx.data, s.dx.ld * context.lanes}, end);
}

void pass_gradient_on(const Context& context, const Stage& s) {
  const Index n = s.features;
  context.kernels.copy_rows(context.stream, s.rows, n, s.dy.data, s.dy.ld, s.dx.data, s.dx.ld, nullptr, nullptr);
  finish_backward(context, s.rows, n, s.dx, s.end);
}

}  // namespace epsball
