// Attacks: the gradient loop behind FGSM to PGD, and the closed form for linear models.
#include "arrays.h"
#include "attacks/linear_exact.h"
#include "attacks/pgd.h"
#include "bind.h"
#include "layers/linear.h"
#include "names.h"
#include "rounding.h"
#include "use.h"

namespace epsball::bindings {
namespace {

// The box of the attack, per feature: exact, as floats inside it, and whether there is one at all.
struct Box {
  std::vector<double> lo, hi;
  std::vector<float> inner_lo, inner_hi;
  bool given = false;

  Box(const py::object& bounds, Index features) {
    const auto n = static_cast<std::size_t>(features);
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    inner_lo.assign(n, -kInfinity);
    inner_hi.assign(n, kInfinity);
    if (bounds.is_none()) return;
    given = true;
    const auto pair = bounds.cast<py::tuple>();
    lo = side(pair[0], n);
    hi = side(pair[1], n);
    for (std::size_t i = 0; i < n; ++i) {
      if (!(lo[i] <= hi[i]))
        throw py::value_error("bounds: wanted lower <= upper, got " + std::to_string(lo[i]) + " and " +
                              std::to_string(hi[i]));
      inner_lo[i] = float_above(lo[i]);
      inner_hi[i] = float_below(hi[i]);
    }
  }
  const double* exact_lo() const { return given ? lo.data() : nullptr; }
  const double* exact_hi() const { return given ? hi.data() : nullptr; }

  void check(const Array& x) const {
    if (!given) return;
    bool inside = true;
    const auto outside = [&](Index i, double v) {
      const auto f = static_cast<std::size_t>(i % x.features);
      return v < lo[f] || v > hi[f];
    };
    for_values(x, [&](Index i, double v) { inside &= !outside(i, v); });
    if (inside) return;
    for_values(x, [&](Index i, double v) {
      const auto f = static_cast<std::size_t>(i % x.features);
      if (outside(i, v))
        throw py::value_error("x: wanted values within bounds [" + std::to_string(lo[f]) + ", " +
                              std::to_string(hi[f]) + "], got " + std::string(py::str(py::float_(v))) + " in row " +
                              std::to_string(i / x.features) + "; pass bounds=None for no box");
    });
  }

 private:
  static std::vector<double> side(const py::handle& value, std::size_t n) {
    if (py::isinstance<py::float_>(value) || py::isinstance<py::int_>(value))
      return std::vector<double>(n, value.cast<double>());
    const auto a = py::array_t<double, py::array::c_style | py::array::forcecast>::ensure(value);
    if (!a || a.size() != static_cast<py::ssize_t>(n))
      throw py::value_error("bounds: wanted two numbers or two arrays of one input's shape");
    return std::vector<double>(a.data(), a.data() + n);
  }
};

std::vector<float> floats_within(const std::vector<double>& values) {
  std::vector<float> floats(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) floats[i] = float_below(values[i]);
  return floats;
}

void check_broken(const std::vector<std::uint8_t>& broken) {
  for (std::size_t i = 0; i < broken.size(); ++i)
    if (broken[i])
      throw py::value_error("model: it gave a logit that is not finite for row " + std::to_string(i) +
                            "; its weights are too large for float32");
}

// Returns (x_adv, success, distance, queries, loss, zero_gradient, trace or None).
py::tuple bind_pgd(Model& model, const py::array& x, const py::array& y, const py::object& judge, const py::object& eps,
                   const py::object& start, const py::object& step_size, const std::string& norm,
                   const std::string& loss, bool descend, bool targeted, int steps, int restarts,
                   const std::string& random_start, bool keep_best, bool judged, bool early_stop, std::uint64_t seed,
                   const py::object& bounds, const py::object& mask, const py::object& index, bool trace) {
  const Use use(model);
  const RowsIn in = rows_in(x, "x", model.features());
  check_finite(in.view, "x");
  const Index rows = in.view.rows, features = model.features();
  const auto n = static_cast<std::size_t>(rows);

  PgdSettings s;
  s.norm = norm_of(norm);
  s.loss = loss_of(loss);
  s.descend = descend;
  s.targeted = targeted;
  s.steps = steps;
  s.restarts = restarts;
  s.random_start = random_start != "none";
  s.start = random_start == "signs" ? Start::signs : Start::ball;
  s.keep_best = keep_best;
  s.judge = judged;
  s.early_stop = early_stop;
  s.seed = seed;

  const LabelsIn labels = labels_or_targets_in(y, "y", rows, model.classes(), s.loss);
  std::vector<std::int32_t> judges = labels.labels;
  if (!judge.is_none()) judges = labels_in(judge.cast<py::array>(), "y", rows, model.classes());
  const std::vector<double> eps_exact = per_row(eps, "eps", rows);
  const std::vector<float> radius = floats_within(eps_exact);
  const std::vector<float> start_radius = start.is_none() ? radius : floats_within(per_row(start, "alpha", rows));
  const std::vector<float> size = floats_within(per_row(step_size, "step_size", rows));
  const Box box(bounds, features);
  box.check(in.view);

  PgdInputs p;
  p.x = in.view;
  p.labels = labels.hard_data();
  p.targets = labels.soft_data();
  p.judge = judges.data();
  p.eps = eps_exact.data();
  p.radius = radius.data();
  p.start_radius = start_radius.data();
  p.step_size = size.data();
  p.box_lo = box.inner_lo.data();
  p.box_hi = box.inner_hi.data();
  p.exact_lo = box.exact_lo();
  p.exact_hi = box.exact_hi();
  py::array_t<std::uint8_t, py::array::c_style> mask_array;
  if (!mask.is_none()) {
    mask_array = mask.cast<py::array_t<std::uint8_t, py::array::c_style>>();
    p.mask = mask_array.data();
    p.mask_ld = mask_array.size() == features && rows != 1 ? 0 : features;
  }
  std::vector<Index> ids(n);
  if (index.is_none()) {
    for (std::size_t i = 0; i < n; ++i) ids[i] = static_cast<Index>(i);
  } else {
    const auto a = index.cast<py::array>();
    if ((a.dtype().kind() != 'i' && a.dtype().kind() != 'u') || a.ndim() != 1 || a.shape(0) != rows)
      throw py::value_error("index: wanted " + std::to_string(rows) + " integers, got " + dtype_text(a) + " of shape " +
                            shape_text(a));
    const auto values = py::array_t<Index, py::array::c_style | py::array::forcecast>::ensure(a);
    ids.assign(values.data(), values.data() + rows);
  }
  p.ids = ids.data();

  py::array x_adv(in.owner.dtype(), std::vector<py::ssize_t>(x.shape(), x.shape() + x.ndim()));
  auto success = new_array<bool>({rows});
  auto zero_gradient = new_array<bool>({rows});
  auto distance = new_array<double>({rows});
  auto queries = new_array<std::int64_t>({rows});
  auto losses = new_array<float>({rows});
  py::object traced = py::none();
  std::vector<std::uint8_t> broken(n);
  PgdOutputs out;
  out.x_adv = {x_adv.mutable_data(), in.view.dtype, rows, features};
  out.success = reinterpret_cast<std::uint8_t*>(success.mutable_data());
  out.zero_gradient = reinterpret_cast<std::uint8_t*>(zero_gradient.mutable_data());
  out.distance = distance.mutable_data();
  out.queries = queries.mutable_data();
  out.loss = losses.mutable_data();
  out.broken = broken.data();
  std::fill_n(out.success, n, std::uint8_t{0});
  std::fill_n(out.zero_gradient, n, std::uint8_t{0});
  std::fill_n(out.queries, n, std::int64_t{0});
  std::fill_n(out.loss, n, std::numeric_limits<float>::quiet_NaN());
  if (trace) {
    auto t = new_array<float>({rows, static_cast<py::ssize_t>(restarts) * (steps + 1)});
    std::fill_n(t.mutable_data(), t.size(), std::numeric_limits<float>::quiet_NaN());
    out.trace = t.mutable_data();
    traced = t;
  }
  without_gil([&](Interruption& i) { pgd(*use.plan, model.arenas(), s, p, out, i); });
  check_broken(broken);
  return py::make_tuple(x_adv, success, distance, queries, losses, zero_gradient, traced);
}

// The one linear layer of a linear model.
const Linear& linear_layer(const Plan& plan) {
  const auto& layers = plan.inference();
  const auto* linear = dynamic_cast<const Linear*>(layers.front().layer);
  if (layers.size() != 1 || !linear || layers.front().activation.kind != Activation::identity)
    throw py::value_error("model: the closed form needs a linear model (Flatten and one Linear layer)");
  return *linear;
}

// Returns (x_adv, distance, margin): margin is the supremum of (best other logit - label's logit) over ball and box.
py::tuple bind_linear_exact(Model& model, const py::array& x, const py::array& y, const py::object& eps,
                            const std::string& norm, const py::object& bounds) {
  const Use use(model);
  const Linear& layer = linear_layer(*use.plan);
  const RowsIn in = rows_in(x, "x", model.features());
  check_finite(in.view, "x");
  const Index rows = in.view.rows, features = model.features();
  const std::vector<std::int32_t> labels = labels_in(y, "y", rows, model.classes());
  const std::vector<double> eps_exact = per_row(eps, "eps", rows);
  const Box box(bounds, features);
  box.check(in.view);
  const Norm which = norm_of(norm);
  if (which == Norm::l0) throw py::value_error("norm: the closed form knows 'linf', 'l2' and 'l1', got 'l0'");

  py::array x_adv(in.owner.dtype(), std::vector<py::ssize_t>(x.shape(), x.shape() + x.ndim()));
  auto margin = new_array<double>({rows});
  auto distance = new_array<double>({rows});
  const Array out{x_adv.mutable_data(), in.view.dtype, rows, features};
  double *margins = margin.mutable_data(), *distances = distance.mutable_data();
  without_gil([&](Interruption& i) {
    const Kernels& k = use.plan->kernels();
    const double work = 200.0 * static_cast<double>(rows * features * model.classes());
    for_slabs({k, model.arenas(), i, rows, 4 * padded(features), work, 0}, [&](Worker& w) {
      const Rows x0 = w.arena.take_rows(w.slab_rows, features), worst = w.arena.take_rows(w.slab_rows, features);
      const Rows lo = w.arena.take_rows(w.slab_rows, features), hi = w.arena.take_rows(w.slab_rows, features);
      for (Index first, count; w.next(first, count);) {
        k.load_rows(nullptr, in.view, nullptr, first, count, x0.data, x0.ld);
        k.limits(nullptr, {count, features, x0.data, x0.ld, nullptr, box.inner_lo.data(), box.inner_hi.data(), nullptr,
                           0, lo.data, hi.data});
        LinearCase c;
        c.norm = which;
        c.rows = count;
        c.features = features;
        c.classes = model.classes();
        c.x0 = x0.data;
        c.lo = lo.data;
        c.hi = hi.data;
        c.ld = x0.ld;
        c.weight = layer.parameters[0].value.data();
        c.bias = layer.parameters.size() > 1 ? layer.parameters[1].value.data() : nullptr;
        c.labels = labels.data() + first;
        c.eps = eps_exact.data() + first;
        c.x = worst.data;
        c.margin = margins + first;
        k.linear_exact(nullptr, c);
        k.store_rows(nullptr, {which, count, features, worst.data, worst.ld, in.view, out, first, eps_exact.data(),
                               box.exact_lo(), box.exact_hi(), distances});
      }
    });
  });
  return py::make_tuple(x_adv, distance, margin);
}

}  // namespace

void bind_attacks(py::module_& m) {
  m.def("pgd", &bind_pgd, py::arg("model"), py::arg("x"), py::arg("y"), py::kw_only(), py::arg("judge"),
        py::arg("eps"), py::arg("start"), py::arg("step_size"), py::arg("norm"), py::arg("loss"), py::arg("descend"),
        py::arg("targeted"), py::arg("steps"), py::arg("restarts"), py::arg("random_start"), py::arg("keep_best"),
        py::arg("judged"), py::arg("early_stop"), py::arg("seed"), py::arg("bounds"), py::arg("mask"),
        py::arg("index"), py::arg("trace"),
        "The gradient loop: (x_adv, success, distance, queries, loss, zero_gradient, trace or None).");
  m.def("linear_exact", &bind_linear_exact, py::arg("model"), py::arg("x"), py::arg("y"), py::arg("eps"),
        py::arg("norm"), py::arg("bounds"), "Worst points of a linear model: (x_adv, distance, margin).");
}

}  // namespace epsball::bindings
