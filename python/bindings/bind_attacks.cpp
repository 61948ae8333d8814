// Attacks: one line for each, after the options it reads beyond what all of them have; and the closed form for linear
// models.
#include "attack_call.h"
#include "attacks/apgd.h"
#include "attacks/boundary.h"
#include "attacks/carlini_wagner.h"
#include "attacks/ddn.h"
#include "attacks/deepfool.h"
#include "attacks/ead.h"
#include "attacks/fab.h"
#include "attacks/flip.h"
#include "attacks/fmn.h"
#include "attacks/hop_skip_jump.h"
#include "attacks/jsma.h"
#include "attacks/lbfgs.h"
#include "attacks/linear_exact.h"
#include "attacks/linear_minimum.h"
#include "attacks/momentum_pgd.h"
#include "attacks/newton_fool.h"
#include "attacks/pgd.h"
#include "attacks/pointwise.h"
#include "attacks/square.h"
#include "attacks/virtual_adversarial.h"
#include "bind.h"

namespace epsball::bindings {
namespace {

constexpr Named<Noise> kNoises[] = {{"normal", Noise::normal}, {"signs", Noise::signs}, {"uniform", Noise::uniform}};

// How often, and from where, steps are taken.
template <class Settings>
void read_runs(Settings& s, const py::dict& o) {
  s.steps = get<int>(o, "steps");
  s.restarts = get<int>(o, "restarts");
  s.random_start = get<std::string>(o, "random_start") != "none";
  if (s.random_start) s.start = start_of(get<std::string>(o, "random_start"));
}

PgdSettings pgd_settings(const py::dict& o) {
  PgdSettings s;
  read_common(s, o);
  read_runs(s, o);
  s.adam = get<bool>(o, "adam");
  s.decay = get<float>(o, "decay");
  s.decay_squares = get<float>(o, "decay_squares");
  s.top = get<int>(o, "top");
  s.samples = get<int>(o, "samples");
  s.noise = by_name(kNoises, "noise", get<std::string>(o, "noise"));
  s.delta = get<float>(o, "delta");
  return s;
}

MomentumSettings momentum_settings(const py::dict& o) {
  MomentumSettings s;
  read_common(s, o);
  s.judge = true;  // one pass among many, and the only one at a point without noise
  read_runs(s, o);
  s.decay = get<float>(o, "decay");
  s.nesterov = get<bool>(o, "nesterov");
  s.copies = get<int>(o, "copies");
  s.scales = get<int>(o, "scales");
  s.noise = by_name(kNoises, "noise", get<std::string>(o, "noise"));
  s.sigma = get<float>(o, "sigma");
  s.mixture = get<bool>(o, "mixture");
  s.neighbours = get<int>(o, "neighbours");
  s.reach = get<float>(o, "reach");
  s.channels = get<Index>(o, "channels");
  s.height = get<Index>(o, "height");
  s.width = get<Index>(o, "width");
  s.least = get<Index>(o, "least");
  s.chance = get<double>(o, "chance");
  s.taps = get<std::vector<float>>(o, "taps");
  s.stretch = get<float>(o, "stretch");
  s.noise_size = get<float>(o, "noise_size");
  return s;
}

ApgdSettings apgd_settings(const py::dict& o) {
  ApgdSettings s;
  read_common(s, o);
  s.steps = get<int>(o, "steps");
  s.restarts = get<int>(o, "restarts");
  s.draws = get<int>(o, "model_draws");
  return s;
}

SquareSettings square_settings(const py::dict& o) {
  SquareSettings s;
  read_common(s, o);
  s.queries = get<int>(o, "queries");
  s.part = get<double>(o, "part");
  s.rescale = get<bool>(o, "rescale");
  s.from_x = get<bool>(o, "from_x");
  s.channels = get<Index>(o, "channels");
  s.height = get<Index>(o, "height");
  s.width = get<Index>(o, "width");
  return s;
}

VirtualAdversarialSettings virtual_adversarial_settings(const py::dict& o) {
  VirtualAdversarialSettings s;
  read_common(s, o);
  s.steps = get<int>(o, "steps");
  s.xi = get<float>(o, "xi");
  return s;
}

// ---- minimum norm ----

template <class Settings>
Settings minimum_norm_settings(const py::dict& o) {
  Settings s;
  read_common(s, o);
  s.minimum_norm = true;
  s.steps = get<int>(o, "steps");
  return s;
}

AttackSettings linear_minimum_settings(const py::dict& o) {
  AttackSettings s;
  read_common(s, o);
  s.minimum_norm = true;
  return s;
}

DdnSettings ddn_settings(const py::dict& o) {
  auto s = minimum_norm_settings<DdnSettings>(o);
  s.gamma = get<float>(o, "gamma");
  s.initial_radius = get<float>(o, "initial_radius");
  return s;
}

FmnSettings fmn_settings(const py::dict& o) {
  auto s = minimum_norm_settings<FmnSettings>(o);
  s.step_size = get<float>(o, "step_size");
  s.gamma = get<float>(o, "gamma");
  return s;
}

DeepFoolSettings deepfool_settings(const py::dict& o) {
  auto s = minimum_norm_settings<DeepFoolSettings>(o);
  s.overshoot = get<float>(o, "overshoot");
  s.candidates = get<Index>(o, "candidates");
  return s;
}

NewtonFoolSettings newton_fool_settings(const py::dict& o) {
  auto s = minimum_norm_settings<NewtonFoolSettings>(o);
  s.eta = get<float>(o, "eta");
  return s;
}

FabSettings fab_settings(const py::dict& o) {
  auto s = minimum_norm_settings<FabSettings>(o);
  s.rivals = get<Index>(o, "rivals");
  s.alpha = get<float>(o, "alpha");
  s.eta = get<float>(o, "eta");
  s.beta = get<float>(o, "beta");
  s.restarts = get<int>(o, "restarts");
  s.radius = get<float>(o, "radius");
  return s;
}

SearchSettings search_settings(const py::dict& o) {
  auto s = minimum_norm_settings<SearchSettings>(o);
  s.searches = get<int>(o, "searches");
  s.constant = get<float>(o, "constant");
  s.rate = get<float>(o, "rate");
  s.beta = get<float>(o, "beta");
  s.confidence = get<float>(o, "confidence");
  s.abort_early = get<bool>(o, "abort_early");
  return s;
}

SearchSettings lbfgs_settings(const py::dict& o) {
  auto s = minimum_norm_settings<SearchSettings>(o);
  s.searches = get<int>(o, "searches");
  s.constant = get<float>(o, "constant");
  s.unit = false;
  return s;
}

FlipSettings flip_settings(const py::dict& o) {
  auto s = minimum_norm_settings<FlipSettings>(o);
  s.rise = get<bool>(o, "rise");
  return s;
}

JsmaSettings jsma_settings(const py::dict& o) {
  auto s = minimum_norm_settings<JsmaSettings>(o);
  s.theta = get<float>(o, "theta");
  s.increase = get<bool>(o, "increase");
  s.again = get<bool>(o, "again");
  s.others = get<bool>(o, "others");
  return s;
}

// ---- labels only ----

template <class Settings>
Settings decision_settings(const py::dict& o) {
  Settings s;
  read_common(s, o);
  s.minimum_norm = true;
  s.judge = false;  // what Python asks at the end it counts
  s.keep_partial = true;
  s.steps = get<int>(o, "steps");
  s.starts = get<int>(o, "starts");
  s.queries = get<std::int64_t>(o, "queries");
  return s;
}

BoundarySettings boundary_settings(const py::dict& o) {
  auto s = decision_settings<BoundarySettings>(o);
  s.orthogonal = get<float>(o, "orthogonal");
  s.towards = get<float>(o, "towards");
  return s;
}

HopSkipJumpSettings hop_skip_jump_settings(const py::dict& o) {
  auto s = decision_settings<HopSkipJumpSettings>(o);
  s.init_evals = get<int>(o, "init_evals");
  s.max_evals = get<int>(o, "max_evals");
  s.first_delta = get<float>(o, "first_delta");
  return s;
}

PointwiseSettings pointwise_settings(const py::dict& o) {
  auto s = decision_settings<PointwiseSettings>(o);
  s.refine = get<bool>(o, "refine");
  return s;
}

// ---- linear models ----

py::tuple run_linear_exact(Model& model, const py::array& x, const py::array& y, const py::object& eps,
                           const std::string& norm, const Box& box) {
  const Use use(model);
  const RowsIn in = rows_in(x, "x", model.features());
  check_finite(in.view, "x");
  const Index rows = in.view.rows;
  const std::vector<std::int32_t> labels = labels_in(y, "y", rows, model.classes());
  const std::vector<double> radius = per_row(eps, "eps", rows);
  box.check(in.view);
  const LinearExactInputs inputs{in.view,        norm_of(norm),       labels.data(),
                                 radius.data(),  box.inner_lo.data(), box.inner_hi.data(),
                                 box.exact_lo(), box.exact_hi()};
  if (inputs.norm == Norm::l0) throw py::value_error("norm: the closed form knows 'linf', 'l2' and 'l1', got 'l0'");

  py::array x_adv = array_like(x, in);
  auto margin = new_array<double>({rows}), distance = new_array<double>({rows});
  const LinearExactOutputs out{
      {x_adv.mutable_data(), in.view.dtype, rows, model.features()}, distance.mutable_data(), margin.mutable_data()};
  const ParameterValues parameters = model.values();
  without_gil([&](Interruption& i) { linear_exact(*use.plan, parameters, model.arenas(), inputs, out, i); });
  return py::make_tuple(x_adv, distance, margin);
}

}  // namespace

void bind_attacks(py::module_& m) {
  py::class_<Box>(m, "Box", "The box of an attack, made once for many calls.")
      .def(py::init<py::object, py::object, Index>(), py::arg("lower"), py::arg("upper"), py::arg("features"),
           "Sides are numbers or arrays of one input; both None: no box.");
  bind_attack<PgdSlab>(m, "pgd", pgd_settings,
                       "The gradient loop: (x_adv, success, distance, queries, loss, zero_gradient, trace or None).");
  bind_attack<MomentumSlab>(m, "momentum_pgd", momentum_settings,
                            "The gradient loop along averages of gradients; returns what pgd does.");
  bind_attack<ApgdSlab>(m, "apgd", apgd_settings, "Auto-PGD; returns what pgd does.");
  bind_attack<SquareSlab>(m, "square", square_settings, "Random search by squares; returns what pgd does.");
  bind_attack<VirtualAdversarialSlab>(m, "virtual_adversarial", virtual_adversarial_settings,
                                      "The direction of virtual adversarial training; returns what pgd does.");
  bind_attack<DdnSlab>(m, "ddn", ddn_settings, "DDN; returns as pgd does.");
  bind_attack<FmnSlab>(m, "fmn", fmn_settings, "FMN; returns as pgd does.");
  bind_attack<DeepFoolSlab>(m, "deepfool", deepfool_settings, "DeepFool; returns as pgd does.");
  bind_attack<NewtonFoolSlab>(m, "newton_fool", newton_fool_settings, "NewtonFool; returns as pgd does.");
  bind_attack<FabSlab>(m, "fab", fab_settings, "FAB and FAB-T; returns as pgd does.");
  bind_attack<CarliniWagnerSlab>(m, "carlini_wagner", search_settings, "C&W; returns as pgd does.");
  bind_attack<EadSlab>(m, "ead", search_settings, "EAD; returns as pgd does.");
  bind_attack<LbfgsSlab>(m, "lbfgs", lbfgs_settings, "L-BFGS within the box; returns as pgd does.");
  bind_attack<FlipSlab>(m, "flip", flip_settings, "Features added or deleted one by one; returns as pgd does.");
  bind_attack<JsmaSlab>(m, "jsma", jsma_settings, "JSMA; returns as pgd does.");
  bind_attack<LinearMinimumSlab>(m, "linear_minimum", linear_minimum_settings,
                                 "Nearest points of linear models; returns as pgd does.");
  bind_attack<BoundarySlab>(m, "boundary", boundary_settings, "Boundary; returns as pgd does, and what stopped it.");
  bind_attack<HopSkipJumpSlab>(m, "hop_skip_jump", hop_skip_jump_settings,
                               "HopSkipJump; returns as pgd does, and what stopped it.");
  bind_attack<PointwiseSlab>(m, "pointwise", pointwise_settings,
                             "Pointwise; returns as pgd does, and what stopped it.");
  m.def("linear_exact", &run_linear_exact, py::arg("model"), py::arg("x"), py::arg("y"), py::arg("eps"),
        py::arg("norm"), py::arg("box"), "Worst points of a linear model: (x_adv, distance, margin).");
}

}  // namespace epsball::bindings
