// A model, or a model outside the engine, in use by one call.
#pragma once

#include <pybind11/pybind11.h>

#include "arrays.h"
#include "foreign.h"
#include "model.h"

namespace epsball::bindings {

// Holds the plan a call started with; a call during eb.fit is refused, since the weights are in motion.
struct Use {
  std::shared_ptr<Plan> plan;  // null for a model outside the engine
  const Target* target = nullptr;
  ArenaPool* arenas = nullptr;

  explicit Use(Model& model) : arenas(&model.arenas()) {
    model.check_open();
    plan = model.plan();
    model.check_open();  // training may have begun in between, and the plan may be the trainer's
    target = plan.get();
  }
  explicit Use(Foreign& model) : target(&model), arenas(&model.arenas()) {}
};

// What Python knows as _native.NotFinite, a ValueError: some rows failed, which others need not do.
struct NotFinite : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Raises for the first row of which broken(row) says that its logits are not finite.
template <class F>
void check_logits(Index rows, F broken) {
  for (Index r = 0; r < rows; ++r)
    if (broken(r))
      throw NotFinite("model: it gave a logit that is not finite for row " + std::to_string(r) +
                      "; its weights are too large for float32 (or, with the loss 'confidence', a logit above 0: "
                      "no log confidence)");
}

// Raises for the first row with a derivative that is not finite; values is (rows, per_row).
inline void check_derivatives(const float* values, Index rows, Index per_row) {
  if (all_finite(values, rows * per_row)) return;
  for (Index r = 0; r < rows; ++r)
    if (!all_finite(values + r * per_row, per_row))
      throw py::value_error("model: a derivative for row " + std::to_string(r) +
                            " is not finite; its weights are too large for float32");
}

}  // namespace epsball::bindings
