// A model in use by one call.
#pragma once

#include <pybind11/pybind11.h>

#include "model.h"

namespace epsball::bindings {

// Holds the plan a call started with; a call during eb.fit is refused, since the weights are in motion.
struct Use {
  std::shared_ptr<Plan> plan;

  explicit Use(Model& model) {
    if (model.in_training()) throw std::runtime_error("model: it is being trained by eb.fit; wait until fit returns");
    plan = model.plan();
  }
};

}  // namespace epsball::bindings
