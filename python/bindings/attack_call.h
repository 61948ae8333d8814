// One call of a native attack: its arguments checked and in the engine's types, and what it found as Python has it.
#pragma once

#include <cstring>
#include <functional>

#include "attacks/attack.h"
#include "box.h"
#include "device_call.h"
#include "names.h"
#include "options.h"
#include "use.h"

namespace epsball::bindings {

inline std::vector<float> floats_within(const std::vector<double>& values) {
  std::vector<float> floats(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) floats[i] = float_below(values[i]);
  return floats;
}

inline py::array array_like(const py::array& x, const RowsIn& in) {
  return py::array(in.owner.dtype(), std::vector<py::ssize_t>(x.shape(), x.shape() + x.ndim()));
}

template <class T>
py::array_t<T> filled(std::vector<py::ssize_t> shape, T value) {
  auto a = new_array<T>(std::move(shape));
  std::fill_n(a.mutable_data(), a.size(), value);
  return a;
}

// What all attacks are told; the rest is the attack's own.
inline void read_common(AttackSettings& s, const py::dict& o) {
  s.norm = norm_of(get<std::string>(o, "norm"));
  s.loss = loss_of(get<std::string>(o, "loss"));
  s.descend = get<bool>(o, "descend");
  s.targeted = get<bool>(o, "targeted");
  s.keep_best = get<bool>(o, "keep_best");
  s.judge = s.keep_best || get<bool>(o, "measured");
  s.early_stop = get<bool>(o, "early_stop");
  s.targets = get<int>(o, "targets");
  if (s.targets > 0 && s.loss == Loss::dlr) s.loss = Loss::dlr_targeted;
  s.seed = get<std::uint64_t>(o, "seed");
}

// Row ids (N,), or 0 ... N - 1.
inline std::vector<Index> ids_in(const py::object& index, Index rows) {
  std::vector<Index> ids(static_cast<std::size_t>(rows));
  if (index.is_none()) {
    for (Index i = 0; i < rows; ++i) ids[static_cast<std::size_t>(i)] = i;
    return ids;
  }
  const auto a = index.cast<py::array>();
  if (a.ndim() != 1 || a.shape(0) != rows)
    throw py::value_error("index: wanted " + std::to_string(rows) + " integers, got shape " + shape_text(a));
  const auto values = py::array_t<Index, py::array::c_style | py::array::forcecast>::ensure(a);
  std::copy_n(values.data(), rows, ids.begin());
  return ids;
}

// The caller's arguments, checked and in the engine's types; what `view` points to lives here.
struct AttackArguments {
  RowsIn x;
  LabelsIn labels;
  std::vector<std::int32_t> judge;
  std::vector<double> eps;
  std::vector<float> radius, start_radius, step_size;
  const Box& box;
  py::array_t<std::uint8_t, py::array::c_style> mask;
  std::vector<Index> ids;
  std::optional<RowsIn> start;
  AttackInputs view;

  AttackArguments(const Target& model, DeviceCall& call, const Given& inputs, const Given& y, const AttackSettings& s,
                  const py::dict& o)
      : box(o["box"].cast<const Box&>()) {
    x = checked_rows(call, inputs, model.features(), &box);
    const Index rows = x.view.rows, features = model.features();
    labels = checked_labels(call, y, rows, model.classes(), s.loss);
    if (!o["judge"].is_none()) judge = labels_in(get<py::array>(o, "judge"), "y", rows, model.classes());
    if (s.minimum_norm)
      eps.assign(static_cast<std::size_t>(rows), std::numeric_limits<double>::infinity());
    else
      eps = per_row(o["eps"], "eps", rows);
    radius = floats_within(eps);
    start_radius = o["start"].is_none() ? radius : floats_within(per_row(o["start"], "alpha", rows));
    step_size = floats_within(per_row(o["step_size"], "step_size", rows));
    ids = ids_in(o["index"], rows);
    view.x = x.view;
    view.labels = labels.hard_data();
    view.targets = labels.soft_data();
    view.judge = o["judge"].is_none() ? labels.hard_data() : judge.data();
    view.eps = eps.data();
    view.radius = radius.data();
    view.start_radius = start_radius.data();
    view.step_size = step_size.data();
    view.box_lo = box.inner_lo.data();
    view.box_hi = box.inner_hi.data();
    view.exact_lo = box.exact_lo();
    view.exact_hi = box.exact_hi();
    view.ids = ids.data();
    if (o.contains("start_points") && !o["start_points"].is_none()) {
      start = rows_in(get<py::array>(o, "start_points"), "start", features);
      check_finite(start->view, "start");
      view.start = start->view;
    }
    if (!o["mask"].is_none()) {
      mask = get<py::array_t<std::uint8_t, py::array::c_style>>(o, "mask");
      view.mask = mask.data();
      view.mask_ld = mask.size() == features ? 0 : features;
    }
  }
};

using RunAttack = std::function<void(const AttackInputs&, const AttackOutputs&, Interruption&)>;

// Calls run with the rows of x: (x_adv, success, distance, queries, loss, zero_gradient, trace or None). With the
// option "partial" an exception of Python's ends the run, not the call: it is returned as one more, or None.
inline py::tuple found_by(const RunAttack& run, const Target& target, ArenaPool& arenas, const Given& x, const Given& y,
                          const AttackSettings& settings, Index iterates, const py::dict& options) {
  const bool measured = get<bool>(options, "measured");
  DeviceCall call(x, "x", target.kernels(), arenas);
  const AttackArguments in(target, call, x, y, settings, options);
  call.settle([&] {
    DeviceCall none;
    AttackArguments(target, none, call.on_host(x), call.on_host(y), settings, options);
  });
  const Index rows = in.view.x.rows;

  const py::object x_adv = call ? py::object(options["out"]) : array_like(x.array, in.x);
  auto success = filled<bool>({rows}, false), zero_gradient = filled<bool>({rows}, false);
  auto distance = filled<double>({rows}, 0.0);
  auto queries = filled<std::int64_t>({rows}, 0);
  auto loss = filled<float>({rows}, std::numeric_limits<float>::quiet_NaN());
  std::vector<std::uint8_t> broken(static_cast<std::size_t>(rows));
  py::object trace = py::none();
  AttackOutputs out;
  void* const points = call ? x_adv.cast<const DeviceArray&>().data() : x_adv.cast<py::array>().mutable_data();
  out.x_adv = {points, in.view.x.dtype, rows, target.features()};
  out.success = reinterpret_cast<std::uint8_t*>(success.mutable_data());
  out.zero_gradient = reinterpret_cast<std::uint8_t*>(zero_gradient.mutable_data());
  out.distance = measured ? distance.mutable_data() : nullptr;
  out.queries = queries.mutable_data();
  out.loss = loss.mutable_data();
  out.broken = broken.data();
  if (get<bool>(options, "trace")) {
    out.trace_ld = iterates;
    auto values = filled<float>({rows, out.trace_ld}, std::numeric_limits<float>::quiet_NaN());
    out.trace = values.mutable_data();
    trace = values;
  }
  const bool partial = options.contains("partial") && get<bool>(options, "partial");
  py::object failure = py::none();
  if (partial && call) throw py::type_error("x: wanted an array in CPU memory, as the attack may end midway");
  if (partial) std::memcpy(points, in.x.owner.data(), static_cast<std::size_t>(in.x.owner.nbytes()));
  try {
    without_gil([&](Interruption& i) { run(in.view, out, i); });
  } catch (py::error_already_set& error) {
    if (!partial || !error.matches(PyExc_Exception)) throw;
    failure = error.value();
  }
  check_logits(rows, [&](Index r) { return broken[static_cast<std::size_t>(r)] != 0; });
  if (partial) return py::make_tuple(x_adv, success, distance, queries, loss, zero_gradient, trace, failure);
  return py::make_tuple(x_adv, success, distance, queries, loss, zero_gradient, trace);
}

template <class Slab, class M, class Settings>
py::tuple run_on(M& model, const Given& x, const Given& y, Settings settings, const py::dict& options) {
  const Use use(model);
  settings.judge_again |= !use.plan && settings.early_stop && get<bool>(options, "measured");
  const auto run = [&](const AttackInputs& in, const AttackOutputs& out, Interruption& i) {
    run_attack<Slab>(*use.target, *use.arenas, settings, in, out, i);
  };
  return found_by(run, *use.target, *use.arenas, x, y, settings, Slab::iterates(settings), options);
}

// m.name(model, x, y, options) runs Slab with the settings that settings_of reads from the options.
template <class Slab, class Settings>
void bind_attack(py::module_& m, const char* name, Settings (*settings_of)(const py::dict&), const char* doc) {
  const auto bind = [&]<class M>(const M*) {
    m.def(
        name,
        [settings_of](M& model, const Given& x, const Given& y, const py::dict& options) {
          return run_on<Slab>(model, x, y, settings_of(options), options);
        },
        py::arg("model"), py::arg("x"), py::arg("y"), py::arg("options"), doc);
  };
  bind(static_cast<const Model*>(nullptr));
  bind(static_cast<const Foreign*>(nullptr));
}

}  // namespace epsball::bindings
