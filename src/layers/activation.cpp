// An activation that stands alone, at the bottom of a model or on top of another activation.
#include "layers/activation.h"

namespace epsball {

void ActivationLayer::forward(const Context& context, const float*, Index rows, Rows x, Rows y,
                              const Epilogue& end) const {
  const Kernels& k = context.kernels;
  if (end.pre_activation)
    k.copy_rows(context.stream, rows, in, x.data, x.ld, end.pre_activation, y.ld, nullptr, nullptr);
  k.activation_forward(context.stream, end.activation, rows, in, x.data, x.ld, y.data, y.ld);
}

}  // namespace epsball
