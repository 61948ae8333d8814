// Models: construction from layer descriptions, parameters, and the plain calls.
#include "arrays.h"
#include "bind.h"
#include "bind_calls.h"
#include "dispatch.h"
#include "intervals.h"
#include "layers/activation.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/dropout.h"
#include "layers/flatten.h"
#include "layers/linear.h"
#include "layers/maxout.h"
#include "layers/normalize.h"
#include "layers/one_vs_one.h"
#include "layers/pool2d.h"
#include "layers/rbf.h"
#include "layers/sum.h"
#include "model.h"
#include "names.h"
#include "training/trainer.h"

#include <algorithm>

namespace epsball::bindings {
namespace {

// A description's (C, H, W) and its kernel, stride and padding, each (down, across).
Image image_of(const py::handle& shape) {
  const auto [c, h, w] = shape.cast<std::array<Index, 3>>();
  return {c, h, w};
}

Window window_of(const Image& in, const py::handle& kernel, const py::handle& stride, const py::handle& padding) {
  const auto k = kernel.cast<std::array<Index, 2>>(), s = stride.cast<std::array<Index, 2>>(),
             p = padding.cast<std::array<Index, 2>>();
  return {{in.height, k[0], s[0], p[0]}, {in.width, k[1], s[1], p[1]}};
}

// ("linear", in, out, bias) | ("dropout", features, p) | ("flatten", features) | (activation, features, parameter) |
// ("conv2d", image, channels, kernel, stride, padding, bias) | ("max_pool2d" or "avg_pool2d", image, kernel, stride,
// padding) | ("batch_norm", image, eps, momentum) | ("normalize", mean, std, pixels) | ("rbf", in, units, diagonal) |
// ("maxout", in, pieces) | ("one_vs_one", in, classes) | ("sum", features)
std::unique_ptr<Layer> layer_of(const py::tuple& d) {
  const auto kind = d[0].cast<std::string>();
  if (kind == "conv2d") {
    const Image in = image_of(d[1]);
    return std::make_unique<Conv2d>(in, d[2].cast<Index>(), window_of(in, d[3], d[4], d[5]), d[6].cast<bool>());
  }
  if (kind == "max_pool2d" || kind == "avg_pool2d") {
    const Image in = image_of(d[1]);
    const PoolKind pool = kind == "max_pool2d" ? PoolKind::max : PoolKind::average;
    return std::make_unique<Pool2d>(in, window_of(in, d[2], d[3], d[4]), pool);
  }
  if (kind == "batch_norm") return std::make_unique<BatchNorm>(image_of(d[1]), d[2].cast<float>(), d[3].cast<float>());
  if (kind == "normalize")
    return std::make_unique<Normalize>(d[1].cast<std::vector<float>>(), d[2].cast<std::vector<float>>(),
                                       d[3].cast<Index>());
  const auto in = d[1].cast<Index>();
  if (kind == "linear") return std::make_unique<Linear>(in, d[2].cast<Index>(), d[3].cast<bool>());
  if (kind == "dropout") return std::make_unique<Dropout>(in, d[2].cast<float>());
  if (kind == "flatten") return std::make_unique<Flatten>(in);
  if (kind == "sum") return std::make_unique<Sum>(in);
  if (kind == "rbf") return std::make_unique<Rbf>(in, d[2].cast<Index>(), d[3].cast<bool>());
  if (kind == "maxout") return std::make_unique<Maxout>(in, d[2].cast<Index>());
  if (kind == "one_vs_one") return std::make_unique<OneVsOne>(d[2].cast<Index>());
  const ActivationSpec spec{by_name(kActivations, "layers", kind), d[2].cast<float>()};
  return std::make_unique<ActivationLayer>(in, spec);
}

// The same, but where its parameters do not fit into memory, or no vector could hold them, the error names the layer.
std::unique_ptr<Layer> layer_in_memory(const std::string& name, const py::tuple& d) {
  try {
    return layer_of(d);
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  }
  const std::string what = "layers: layer " + name + " (" + d[0].cast<std::string>() + ") does not fit into memory";
  PyErr_SetString(PyExc_MemoryError, what.c_str());
  throw py::error_already_set();
}

// (name, places of the layers it reads, description) each.
std::unique_ptr<Model> model_of(const std::vector<std::tuple<std::string, std::vector<Index>, py::tuple>>& given) {
  Layers layers;
  for (const auto& [name, reads, description] : given) {
    layers.push_back(layer_in_memory(name, description));
    layers.back()->name = name;
    layers.back()->reads = reads;
  }
  return std::make_unique<Model>(std::move(layers));
}

// "2.weight": the layer's name in the model, then the parameter's, as torch names an nn.Sequential's.
std::vector<std::pair<std::string, Parameter*>> named_parameters(Model& model) {
  std::vector<std::pair<std::string, Parameter*>> found;
  for (const auto& layer : model.layers())
    for (Parameter& p : layer->parameters) found.emplace_back(layer->name + "." + p.name, &p);
  return found;
}

py::array_t<float> copy_of(const std::vector<Index>& shape, const std::vector<float>& values) {
  py::array_t<float> a(std::vector<py::ssize_t>(shape.begin(), shape.end()));
  std::copy(values.begin(), values.end(), a.mutable_data());
  return a;
}

py::dict dict_of(Model& model, const ParameterValues& values) {
  const auto named = named_parameters(model);
  py::dict d;
  for (std::size_t i = 0; i < named.size(); ++i)
    d[py::str(named[i].first)] = copy_of(named[i].second->shape, values[i]);
  return d;
}

py::dict parameters(Model& model) { return dict_of(model, model.values()); }

// All or nothing: every array is checked before the first is copied.
void load_parameters(Model& model, const py::dict& values) {
  model.check_open();
  const auto named = named_parameters(model);
  std::vector<py::array_t<float, py::array::c_style | py::array::forcecast>> arrays;
  for (const auto& [name, p] : named) {
    if (!values.contains(name)) throw py::value_error("parameters: '" + name + "' is missing");
    const py::array given = py::array::ensure(values[py::str(name)]);
    if (!given || given.dtype().kind() != 'f')
      throw py::type_error("parameters: '" + name + "' is not a floating-point array");
    const auto shape = std::vector<Index>(given.shape(), given.shape() + given.ndim());
    if (shape != p->shape)
      throw py::value_error("parameters: '" + name + "' wants shape " + shape_text(copy_of(p->shape, p->value)) +
                            ", got " + shape_text(given));
    check_finite(given, ("parameters['" + name + "']").c_str());
    arrays.emplace_back(given);
    const float* const first = arrays.back().data();
    if (p->non_negative && std::any_of(first, first + arrays.back().size(), [](float v) { return v < 0.0f; }))
      throw py::value_error("parameters: '" + name + "' wants variances, got one below 0");
  }
  if (values.size() != named.size())
    for (const auto& item : values) {
      const auto name = item.first.cast<std::string>();
      bool known = false;
      for (const auto& n : named) known |= n.first == name;
      if (!known) throw py::value_error("parameters: the model has no '" + name + "'");
    }
  std::vector<const float*> data;
  for (const auto& a : arrays) data.push_back(a.data());
  model.load(data);
}

py::dict parameter_gradients(Model& model, const py::array& x, const py::array& y, const std::string& loss_name) {
  const Use use(model);
  const RowsIn in = rows_in(x, "x", model.features());
  check_finite(in.view, "x");
  if (in.view.rows == 0) throw py::value_error("x: wanted at least one row to average over, got none");
  MethodSettings method;
  method.loss = loss_of(loss_name);
  const LabelsIn labels = labels_or_targets_in(y, "y", in.view.rows, model.classes(), method.loss);
  Trainer trainer(model, {}, method);
  const TrainingData data{in.view, labels.hard_data(), labels.soft_data()};
  model.check_open();  // training may have begun in between, and the trainer above may hold the plan it writes to
  const ParameterValues gradients = without_gil([&](Interruption& i) { return trainer.gradients(data, i); });
  const auto names = named_parameters(model);
  for (std::size_t i = 0; i < names.size(); ++i)
    if (!all_finite(gradients[i].data(), static_cast<Index>(gradients[i].size())))
      throw py::value_error("model: the gradient of '" + names[i].first +
                            "' is not finite; its weights are too large for float32");
  return dict_of(model, gradients);
}

// The first layer that does not carry intervals, or -1.
Index interval_misfit(const Model& model) {
  for (std::size_t i = 0; i < model.layers().size(); ++i)
    if (model.layers()[i]->intervals() == Intervals::none) return static_cast<Index>(i);
  return -1;
}

// (lower (N, K), upper (N, K))
py::tuple bounds(Model& model, const py::array& low, const py::array& high) {
  model.check_open();
  const auto plan = model.training_plan();
  model.check_open();  // training may have begun in between, and the plan may be the trainer's
  if (interval_misfit(model) >= 0) throw py::value_error("model: intervals do not pass one of its layers");
  const RowsIn from = rows_in(low, "low", model.features()), to = rows_in(high, "high", model.features());
  check_finite(from.view, "low");
  check_finite(to.view, "high");
  if (to.view.rows != from.view.rows) throw py::value_error("high: wanted as many rows as low");
  auto lower = new_array<float>({from.view.rows, model.classes()}),
       upper = new_array<float>({from.view.rows, model.classes()});
  float *l = lower.mutable_data(), *u = upper.mutable_data();
  without_gil([&](Interruption& i) { call_bounds(*plan, model.arenas(), i, from.view, to.view, l, u); });
  return py::make_tuple(lower, upper);
}

}  // namespace

void bind_model(py::module_& m) {
  py::register_exception<NotFinite>(m, "NotFinite", PyExc_ValueError).attr("__doc__") =
      "A logit or a derivative that is not finite, for some rows.";
  py::class_<Model> model(m, "Model", "A model's layers, parameters and plans.");
  bind_calls(model);
  model.def(py::init(&model_of), py::arg("layers"))
      .def_property_readonly("features", &Model::features)
      .def_property_readonly("classes", &Model::classes)
      .def(
          "place",
          [](Model& model, const std::optional<std::string>& table) {
            model.check_open();
            model.place(table ? &table_named(*table) : nullptr);
          },
          py::arg("table"), "Computes on this table from now on; None: on the one in force.")
      .def("close", &Model::close, "Refuses all calls but admitted ones, while the model is trained.")
      .def("open", &Model::open, "Ends close().")
      .def("admit", &Model::admit, py::arg("on"), "Lets this thread's calls through a closed model, or no longer.")
      .def("parameters", &parameters, "Copies of all parameters by name, in layer order.")
      .def("load_parameters", &load_parameters, py::arg("values"), "Copies all parameters in; all or nothing.")
      .def("interval_misfit", &interval_misfit, "The first layer that intervals do not pass, or -1.")
      .def("bounds", &bounds, py::arg("low"), py::arg("high"), "Bounds (N, K) of the logits over boxes.")
      .def("parameter_gradients", &parameter_gradients, py::arg("x"), py::arg("y"), py::arg("loss"),
           "Gradients of the mean loss by parameter name.");
}

}  // namespace epsball::bindings
