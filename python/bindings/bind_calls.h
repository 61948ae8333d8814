// The plain calls on whatever has logits: a model of the engine's, or one outside of it.
#pragma once

#include <cmath>

#include "arrays.h"
#include "calls.h"
#include "names.h"
#include "use.h"

namespace epsball::bindings {

template <class M>
py::array_t<float> logits(M& model, const py::array& x) {
  const Use use(model);
  const RowsIn in = rows_in(x, "x", model.features());
  check_finite(in.view, "x");
  auto z = new_array<float>({in.view.rows, model.classes()});
  float* out = z.mutable_data();
  without_gil([&](Interruption& i) { call_logits({*use.target, *use.arenas, i}, in.view, out, nullptr, nullptr); });
  const Index classes = model.classes();
  check_logits(in.view.rows, [&](Index r) {
    return std::any_of(out + r * classes, out + (r + 1) * classes, [](float v) { return !std::isfinite(v); });
  });
  return z;
}

template <class M>
py::array_t<std::int64_t> predict(M& model, const py::array& x) {
  const Use use(model);
  const RowsIn in = rows_in(x, "x", model.features());
  check_finite(in.view, "x");
  const auto rows = static_cast<std::size_t>(in.view.rows);
  std::vector<std::int32_t> labels(rows);
  std::vector<float> judged(rows);
  without_gil([&](Interruption& i) {
    call_logits({*use.target, *use.arenas, i}, in.view, nullptr, labels.data(), judged.data());
  });
  check_logits(in.view.rows, [&](Index r) { return std::isnan(judged[static_cast<std::size_t>(r)]); });
  auto y = new_array<std::int64_t>({in.view.rows});
  std::copy(labels.begin(), labels.end(), y.mutable_data());
  return y;
}

// (loss (N,), gradient (N, features) or None)
template <class M>
py::tuple loss_and_gradient(M& model, const py::array& x, const py::array& y, const std::string& loss_name,
                            bool gradient) {
  const Use use(model);
  const RowsIn in = rows_in(x, "x", model.features());
  check_finite(in.view, "x");
  const Loss loss = loss_of(loss_name);
  const LabelsIn labels = labels_or_targets_in(y, "y", in.view.rows, model.classes(), loss);
  auto values = new_array<float>({in.view.rows});
  py::object dx = py::none();
  float *out = values.mutable_data(), *out_gradient = nullptr;
  if (gradient) {
    auto g = new_array<float>({in.view.rows, model.features()});
    out_gradient = g.mutable_data();
    dx = g;
  }
  const Labels wanted{loss, labels.hard_data(), labels.soft_data()};
  without_gil([&](Interruption& i) { call_loss({*use.target, *use.arenas, i}, in.view, wanted, out, out_gradient); });
  check_logits(in.view.rows, [&](Index r) { return std::isnan(out[r]); });
  if (gradient) check_derivatives(out_gradient, in.view.rows, model.features());
  return py::make_tuple(values, dx);
}

template <class M>
py::array_t<float> jacobian(M& model, const py::array& x) {
  const Use use(model);
  const RowsIn in = rows_in(x, "x", model.features());
  check_finite(in.view, "x");
  auto j = new_array<float>({in.view.rows, model.classes(), model.features()});
  float* out = j.mutable_data();
  without_gil([&](Interruption& i) { call_jacobian({*use.target, *use.arenas, i}, in.view, out); });
  check_derivatives(out, in.view.rows, model.classes() * model.features());
  return j;
}

template <class M>
void bind_calls(py::class_<M>& c) {
  c.def("logits", &logits<M>, py::arg("x"), "Logits (N, K).")
      .def("predict", &predict<M>, py::arg("x"), "Predicted classes (N,).")
      .def("loss_and_gradient", &loss_and_gradient<M>, py::arg("x"), py::arg("y"), py::arg("loss"), py::arg("gradient"),
           "Per-row losses (N,) and, if wanted, their input gradients (N, features).")
      .def("jacobian", &jacobian<M>, py::arg("x"), "Derivatives of the logits, (N, K, features).");
}

}  // namespace epsball::bindings
