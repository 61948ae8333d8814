// The plain calls on whatever has logits: a model of the engine's, or one outside of it.
#pragma once

#include <cmath>
#include <optional>

#include "arrays.h"
#include "calls.h"
#include "device_call.h"
#include "names.h"
#include "use.h"

namespace epsball::bindings {

// x, checked.
inline RowsIn checked_inputs(DeviceCall& call, const Given& x, Index features) {
  RowsIn in = checked_rows(call, x, features);
  call.settle([&] {
    DeviceCall none;
    checked_rows(none, call.on_host(x), features);
  });
  return in;
}

// Looks at a result for what is not finite: check(values) raises. What the device has found to be finite stays there.
template <class F>
void inspect(DeviceCall& call, const float* values, Index count, F check) {
  if (!call) return check(values);
  if (!call.all_finite(values, count)) check(call.on_host(values, count).data());
}

inline void check_finite_logits(const float* logits, Index rows, Index classes) {
  check_logits(rows, [&](Index r) {
    const float *first = logits + r * classes, *last = first + classes;
    return std::any_of(first, last, [](float v) { return !std::isfinite(v); });
  });
}

// For x on a device, `out` is where the result goes.

template <class M>
py::object logits(M& model, const Given& x, const py::object& out) {
  const Use use(model);
  DeviceCall call(x, "x", use.target->kernels(), *use.arenas);
  const RowsIn in = checked_inputs(call, x, model.features());
  const Index rows = in.view.rows, classes = model.classes();
  const Result<float> z(call, out, {rows, classes});
  without_gil([&](Interruption& i) { call_logits({*use.target, *use.arenas, i}, in.view, z.data, nullptr, nullptr); });
  inspect(call, z.data, rows * classes, [&](const float* values) { check_finite_logits(values, rows, classes); });
  return z.array;
}

// On a device the softmax is the table's; elsewhere Python has it in float64.
template <class M>
py::object probabilities(M& model, const Given& x, bool log_confidences, const py::object& out) {
  const Use use(model);
  DeviceCall call(x, "x", use.target->kernels(), *use.arenas);
  const RowsIn in = checked_inputs(call, x, model.features());
  const Index rows = in.view.rows, classes = model.classes();
  const Result<float> p(call, out, {rows, classes});
  std::vector<float> on_host(static_cast<std::size_t>(call ? 0 : rows * classes));
  float* const z = call ? call.take<float>(rows * classes) : on_host.data();
  without_gil(
      [&](Interruption& i) { call_probabilities({*use.target, *use.arenas, i}, in.view, log_confidences, z, p.data); });
  inspect(call, z, rows * classes, [&](const float* logits) { check_finite_logits(logits, rows, classes); });
  return p.array;
}

template <class M>
py::object predict(M& model, const Given& x, const py::object& out) {
  const Use use(model);
  DeviceCall call(x, "x", use.target->kernels(), *use.arenas);
  const RowsIn in = checked_inputs(call, x, model.features());
  const auto rows = static_cast<std::size_t>(in.view.rows);
  const Result<std::int64_t> y(call, out, {in.view.rows});
  std::vector<std::int32_t> labels(call ? 0 : rows);
  std::vector<float> judged(rows);
  std::int32_t* const predicted = call ? call.take<std::int32_t>(in.view.rows) : labels.data();
  without_gil(
      [&](Interruption& i) { call_logits({*use.target, *use.arenas, i}, in.view, nullptr, predicted, judged.data()); });
  check_logits(in.view.rows, [&](Index r) { return std::isnan(judged[static_cast<std::size_t>(r)]); });
  if (call)
    call.write_labels(in.view.rows, predicted, y.data);
  else
    std::copy(labels.begin(), labels.end(), y.data);
  return y.array;
}

// (loss (N,), gradient (N, features) or None); for x on a device `out` is where the gradient goes, or without one the
// losses.
template <class M>
py::tuple loss_and_gradient(M& model, const Given& x, const Given& y, const std::string& loss_name, bool gradient,
                            const py::object& out) {
  const Use use(model);
  DeviceCall call(x, "x", use.target->kernels(), *use.arenas);
  const RowsIn in = checked_rows(call, x, model.features());
  const Index rows = in.view.rows, features = model.features(), classes = model.classes();
  const Loss loss = loss_of(loss_name);
  const LabelsIn labels = checked_labels(call, y, rows, classes, loss);
  DeviceCall none;
  call.settle([&] {
    checked_rows(none, call.on_host(x), features);
    labels_or_targets_in(call.on_host(y), "y", rows, classes, loss);
  });
  const Result<float> values(gradient ? none : call, out, {rows});
  std::optional<Derivatives> dx;
  if (gradient) dx.emplace(call, out, std::vector<py::ssize_t>{rows, features});
  const Labels wanted{loss, labels.hard_data(), labels.soft_data()};
  without_gil([&](Interruption& i) {
    call_loss({*use.target, *use.arenas, i}, in.view, wanted, values.data, dx ? dx->data() : nullptr);
  });
  inspect(gradient ? none : call, values.data, rows,
          [&](const float* losses) { check_logits(rows, [&](Index r) { return std::isnan(losses[r]); }); });
  if (!dx) return py::make_tuple(values.array, py::none());
  inspect(call, dx->data(), rows * features, [&](const float* v) { check_derivatives(v, rows, features); });
  return py::make_tuple(values.array, dx->array());
}

template <class M>
py::object jacobian(M& model, const Given& x, const py::object& out) {
  const Use use(model);
  DeviceCall call(x, "x", use.target->kernels(), *use.arenas);
  const RowsIn in = checked_inputs(call, x, model.features());
  const Index rows = in.view.rows, classes = model.classes(), features = model.features();
  Derivatives j(call, out, {rows, classes, features});
  without_gil([&](Interruption& i) { call_jacobian({*use.target, *use.arenas, i}, in.view, j.data()); });
  inspect(call, j.data(), rows * classes * features,
          [&](const float* values) { check_derivatives(values, rows, classes * features); });
  return j.array();
}

template <class M>
void bind_calls(py::class_<M>& c) {
  c.def("logits", &logits<M>, py::arg("x"), py::arg("out") = py::none(), "Logits (N, K).")
      .def("probabilities", &probabilities<M>, py::arg("x"), py::arg("log_confidences"), py::arg("out") = py::none(),
           "Softmax (N, K) of the logits, one of them: the sigmoid; or exp of log confidences.")
      .def("predict", &predict<M>, py::arg("x"), py::arg("out") = py::none(), "Predicted classes (N,).")
      .def("loss_and_gradient", &loss_and_gradient<M>, py::arg("x"), py::arg("y"), py::arg("loss"), py::arg("gradient"),
           py::arg("out") = py::none(), "Per-row losses (N,) and, if wanted, their input gradients (N, features).")
      .def("jacobian", &jacobian<M>, py::arg("x"), py::arg("out") = py::none(),
           "Derivatives of the logits, (N, K, features).");
}

}  // namespace epsball::bindings
