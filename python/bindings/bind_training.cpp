// The trainer: epochs, and the state a checkpoint needs.
#include "arrays.h"
#include "bind.h"
#include "model.h"
#include "names.h"
#include "options.h"
#include "rounding.h"
#include "training/trainer.h"

namespace epsball::bindings {
namespace {

struct TrainerHandle {
  Model& model;
  Trainer trainer;
  Loss loss;

  TrainerHandle(Model& m, const OptimizerSettings& o, const MethodSettings& s)
      : model(m), trainer(m, o, s), loss(s.loss) {}
};

OptimizerSettings optimizer_of(const py::dict& d) {
  OptimizerSettings o;
  const auto rule = get<std::string>(d, "rule");
  if (rule != "sgd" && rule != "adam") throw py::value_error("optimizer: wanted 'sgd' or 'adam', got '" + rule + "'");
  o.rule = rule == "sgd" ? Rule::sgd : Rule::adam;
  o.momentum = get<float>(d, "momentum");
  o.nesterov = get<bool>(d, "nesterov");
  o.beta1 = get<float>(d, "beta1");
  o.beta2 = get<float>(d, "beta2");
  o.epsilon = get<float>(d, "epsilon");
  o.l2 = get<float>(d, "l2");
  o.l1 = get<float>(d, "l1");
  o.decay = get<float>(d, "decay");
  o.clip_norm = get<float>(d, "clip_norm");
  o.max_norm = get<float>(d, "max_norm");
  o.average = get<float>(d, "average");
  return o;
}

MethodSettings method_of(const py::dict& d) {
  MethodSettings s;
  s.loss = loss_of(get<std::string>(d, "loss"));
  s.clean_weight = get<float>(d, "clean_weight");
  s.attack.loss = s.loss;
  s.attack.judge = false;
  if (s.clean_weight >= 1.0f) return s;
  s.attack.norm = norm_of(get<std::string>(d, "norm"));
  s.attack.steps = get<int>(d, "steps");
  s.attack.random_start = get<bool>(d, "random_start");
  s.attack.keep_best = false;  // as in the papers, what the last step reaches is trained on
  s.eps = get<double>(d, "eps");
  s.step_size = float_below(get<double>(d, "step_size"));
  s.start_radius = float_below(s.eps);
  s.lo = get<double>(d, "lo");
  s.hi = get<double>(d, "hi");
  return s;
}

double run(TrainerHandle& handle, const py::array& x, const py::array& y, const py::array_t<Index>& order,
           Index batch_size, const py::array_t<float>& rates, const py::array_t<float>& budgets, std::uint64_t seed) {
  const RowsIn in = rows_in(x, "x", handle.model.features());
  const LabelsIn labels = labels_or_targets_in(y, "y", in.view.rows, handle.model.classes(), handle.loss);
  const TrainingData data{in.view, labels.hard_data(), labels.soft_data()};
  const Epoch epoch{order.data(), order.size(), batch_size, rates.data(), budgets.data(), seed};
  return without_gil([&](Interruption& i) { return handle.trainer.run(data, epoch, i); });
}

py::array_t<float> flat(const std::vector<float>& values) {
  auto a = new_array<float>({static_cast<py::ssize_t>(values.size())});
  std::copy(values.begin(), values.end(), a.mutable_data());
  return a;
}

// The optimiser's state: first moments, then second ones, then averages if there are any, each as one flat array.
py::list moments(TrainerHandle& handle) {
  Trainer& t = handle.trainer;
  py::list all;
  for (auto* list : {&t.first_moments(), &t.second_moments(), &t.averages()})
    for (const auto& values : *list) all.append(flat(values));
  return all;
}

py::list averages(TrainerHandle& handle) {
  py::list all;
  for (const auto& values : handle.trainer.averages()) all.append(flat(values));
  return all;
}

void load_moments(TrainerHandle& handle, const py::list& all, Index updates) {
  Trainer& t = handle.trainer;
  if (all.size() != t.first_moments().size() + t.second_moments().size() + t.averages().size())
    throw py::value_error("checkpoint: optimiser state of another model");
  std::size_t next = 0;
  for (auto* list : {&t.first_moments(), &t.second_moments(), &t.averages()})
    for (auto& values : *list) {
      const auto a = all[next++].cast<py::array_t<float, py::array::c_style>>();
      if (static_cast<std::size_t>(a.size()) != values.size())
        throw py::value_error("checkpoint: optimiser state of another model");
      std::copy_n(a.data(), values.size(), values.begin());
    }
  t.set_updates(updates);
}

}  // namespace

void bind_training(py::module_& m) {
  py::register_exception<Diverged>(m, "Diverged", PyExc_FloatingPointError);
  py::class_<TrainerHandle>(m, "Trainer", "Optimiser state and training steps for one model.")
      .def(py::init([](Model& model, const py::dict& optimizer, const py::dict& method) {
             return std::make_unique<TrainerHandle>(model, optimizer_of(optimizer), method_of(method));
           }),
           py::arg("model"), py::arg("optimizer"), py::arg("method"), py::keep_alive<1, 2>())
      .def("run", &run, py::arg("x"), py::arg("y"), py::arg("order"), py::arg("batch_size"), py::arg("rates"),
           py::arg("budgets"), py::arg("seed"), "Trains through one epoch in the given order; returns the mean loss.")
      .def("moments", &moments, "The optimiser's state as flat arrays.")
      .def("averages", &averages, "The weights' moving averages as flat arrays; none where they are not made.")
      .def("load_moments", &load_moments, py::arg("moments"), py::arg("updates"))
      .def_property_readonly("updates", [](TrainerHandle& h) { return h.trainer.updates(); });
}

}  // namespace epsball::bindings
