// A model in use by one call.
#pragma once

#include <pybind11/pybind11.h>

#include "model.h"

namespace epsball::bindings {

// Holds the plan a call started with; a call during eb.fit is refused, since the weights are in motion.
struct Use {
  std::shared_ptr<Plan> plan;

  explicit Use(Model& model) {
    model.check_open();
    plan = model.plan();
    model.check_open();  // training may have begun in between, and the plan may be the trainer's
  }
};

}  // namespace epsball::bindings
