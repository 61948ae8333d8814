// The closed-form attack on linear models: the worst point of ball and box for every row.
#pragma once

#include "model.h"

namespace epsball {

struct LinearExactInputs {
  Array x;
  Norm norm = Norm::linf;
  const std::int32_t* labels = nullptr;
  const double* eps = nullptr;
  const float* box_lo = nullptr;  // (features), infinite without a box
  const float* box_hi = nullptr;
  const double* exact_lo = nullptr;  // (features), null without a box
  const double* exact_hi = nullptr;
};

struct LinearExactOutputs {
  Array x_adv;
  double* distance = nullptr;
  double* margin = nullptr;  // sup over ball and box of (best other logit - label's logit)
};

// Throws std::invalid_argument if the plan is anything but one linear layer. `parameters` are the layer's, weight
// first: a copy (Model::values), as the closed form wants them unpacked and the model's own may be loaded anew
// meanwhile.
void linear_exact(const Plan& plan, const ParameterValues& parameters, ArenaPool& arenas, const LinearExactInputs& in,
                  const LinearExactOutputs& out, Interruption& interruption);

}  // namespace epsball
