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
  bool partly_unlabelled;

  TrainerHandle(Model& m, const OptimizerSettings& o, const MethodSettings& s)
      : model(m), trainer(m, o, s), loss(s.loss), partly_unlabelled(s.partly_unlabelled) {}
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

// One of the names, by position.
template <class Enum>
Enum named(const py::dict& d, const char* key, std::initializer_list<const char*> names) {
  const auto name = get<std::string>(d, key);
  int i = 0;
  for (const char* known : names) {
    if (name == known) return static_cast<Enum>(i);
    ++i;
  }
  throw py::value_error(std::string(key) + ": '" + name + "' is unknown to the trainer");
}

std::vector<PartSettings> parts_of(const py::dict& d) {
  std::vector<PartSettings> parts;
  for (const py::handle& part : get<py::list>(d, "parts")) {
    const auto p = part.cast<py::dict>();
    parts.push_back({named<Source>(p, "source", {"clean", "attacked", "ascended", "descended", "centre", "radius"}),
                     get<float>(p, "weight"), get<float>(p, "reported")});
  }
  return parts;
}

// epsball/training/method.py has all of these.
MethodSettings method_of(const py::dict& d) {
  MethodSettings s;
  s.loss = loss_of(get<std::string>(d, "loss"));
  s.sharpness = 1.0f / get<float>(d, "temperature");
  s.partly_unlabelled = get<bool>(d, "partly_unlabelled");
  s.parts = parts_of(d);
  s.paired_halves = get<bool>(d, "paired_halves");
  s.pair = named<PairLoss>(d, "pair",
                           {"none", "squared_distance", "squared_size", "kl", "kl_constant", "mart", "worst_case"});
  s.pair_weight = get<float>(d, "pair_weight");
  s.coupling = get<float>(d, "coupling");
  s.ramps_pair_weight = get<bool>(d, "ramps_pair_weight");
  s.inner = named<Inner>(d, "inner", {"loop", "virtual_adversarial", "replay"});
  s.reference = named<Reference>(d, "reference", {"labels", "predictions", "probabilities"});
  s.attack.loss = s.reference == Reference::probabilities ? Loss::cross_entropy : s.loss;
  s.attack.judge = false;
  s.attack.keep_best = false;  // as in the papers, what the last step reaches is trained on
  s.attack.norm = norm_of(get<std::string>(d, "norm"));
  s.attack.steps = get<int>(d, "steps");
  s.attack.random_start = get<std::string>(d, "start") != "none";
  if (s.attack.random_start) s.attack.start = start_of(get<std::string>(d, "start"));
  s.eps = get<double>(d, "eps");
  s.step_size = float_below(get<double>(d, "step_size"));
  s.start_radius = float_below(get<double>(d, "start_radius"));
  s.lo = get<double>(d, "lo");
  s.hi = get<double>(d, "hi");
  s.replays = get<int>(d, "replays");
  s.finite_difference = get<float>(d, "finite_difference");
  for (const py::handle& source : get<py::list>(d, "sources")) s.sources.push_back(&source.cast<Model&>());
  return s;
}

// Labels or targets; where a method trains on unlabelled rows too, -1 is no label.
LabelsIn labels_of(const TrainerHandle& handle, const py::array& y, Index rows) {
  const Index classes = handle.model.classes();
  if (!handle.partly_unlabelled) return labels_or_targets_in(y, "y", rows, classes, handle.loss);
  const auto given = py::array_t<Index, py::array::c_style | py::array::forcecast>::ensure(y);
  const auto raised = py::module_::import("numpy").attr("maximum")(y, 0).cast<py::array>();
  LabelsIn in;
  in.labels = labels_in(raised, "y", rows, classes);
  for (Index i = 0; i < rows; ++i) {
    if (given.data()[i] < -1) throw py::value_error("y: wanted class indices, or -1 for no label");
    if (given.data()[i] == -1) in.labels[static_cast<std::size_t>(i)] = -1;
  }
  return in;
}

// Raises unless all rows can be trained on.
void check_data(const Model& model, const py::array& x, const py::array& y, const std::string& loss) {
  const RowsIn in = rows_in(x, "x", model.features());
  check_finite(in.view, "x");
  labels_or_targets_in(y, "y", in.view.rows, model.classes(), loss_of(loss));
}

double run(TrainerHandle& handle, const py::array& x, const py::array& y, const py::array_t<Index>& order,
           Index batch_size, const py::array_t<float>& rates, const py::array_t<float>& budgets, std::uint64_t seed) {
  const RowsIn in = rows_in(x, "x", handle.model.features());
  const LabelsIn labels = labels_of(handle, y, in.view.rows);
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
  for (const auto& values : t.moments()) all.append(flat(values));
  return all;
}

py::list averages(TrainerHandle& handle) {
  py::list all;
  for (const auto& values : handle.trainer.averages()) all.append(flat(values));
  return all;
}

void load_moments(TrainerHandle& handle, const py::list& all, Index updates) {
  ParameterValues moments = handle.trainer.moments();
  if (all.size() != moments.size()) throw py::value_error("checkpoint: optimiser state of another model");
  std::size_t next = 0;
  for (auto& values : moments) {
    const auto a = all[next++].cast<py::array_t<float, py::array::c_style>>();
    if (static_cast<std::size_t>(a.size()) != values.size())
      throw py::value_error("checkpoint: optimiser state of another model");
    std::copy_n(a.data(), values.size(), values.begin());
  }
  handle.trainer.load_moments(moments, updates);
}

}  // namespace

void bind_training(py::module_& m) {
  py::register_exception<Diverged>(m, "Diverged", PyExc_FloatingPointError);
  m.def("check_data", &check_data, py::arg("model"), py::arg("x"), py::arg("y"), py::arg("loss"),
        "Raises unless all rows and labels can be trained on.");
  py::class_<TrainerHandle>(m, "Trainer", "Optimiser state and training steps for one model.")
      .def(py::init([](Model& model, const py::dict& optimizer, const py::dict& method) {
             return std::make_unique<TrainerHandle>(model, optimizer_of(optimizer), method_of(method));
           }),
           py::arg("model"), py::arg("optimizer"), py::arg("method"), py::keep_alive<1, 2>(), py::keep_alive<1, 4>())
      .def("run", &run, py::arg("x"), py::arg("y"), py::arg("order"), py::arg("batch_size"), py::arg("rates"),
           py::arg("budgets"), py::arg("seed"), "Trains through one epoch in the given order; returns the mean loss.")
      .def("moments", &moments, "The optimiser's state as flat arrays.")
      .def("averages", &averages, "The weights' moving averages as flat arrays; none where they are not made.")
      .def("load_moments", &load_moments, py::arg("moments"), py::arg("updates"))
      .def_property_readonly("updates", [](TrainerHandle& h) { return h.trainer.updates(); });
}

}  // namespace epsball::bindings
