// Runs the closed form slab by slab.
#include "attacks/linear_exact.h"

#include <stdexcept>

#include "attacks/linear_row.h"
#include "layers/linear.h"
#include "slabs.h"
#include "staging.h"

namespace epsball {
namespace {

// Of the training layers, since inference folds others into a linear layer, whose parameters are then not its weights.
void check_linear(const Plan& plan) {
  Index linear = 0, others = 0;
  for (const Lowered& l : plan.training()) {
    if (l.layer->dropout() > 0.0f) continue;
    const bool is_linear = dynamic_cast<const Linear*>(l.layer) && l.activation.kind == Activation::identity;
    ++(is_linear ? linear : others);
  }
  if (linear != 1 || others != 0)
    throw std::invalid_argument("model: the closed form needs a linear model (Flatten and one Linear layer)");
}

}  // namespace

void linear_exact(const Plan& plan, const ParameterValues& parameters, ArenaPool& arenas, const LinearExactInputs& in,
                  const LinearExactOutputs& out, Interruption& interruption) {
  check_linear(plan);
  const Kernels& k = plan.kernels();
  const Index n = plan.features();
  constexpr double kPasses = 200.0;  // of the bisections over each rival
  const double work = kPasses * static_cast<double>(in.x.rows * plan.multiply_adds());
  const Index rows = in.x.rows;
  Staging staging(k, arenas);
  const Array inputs = staging.in(in.x), x_adv = staging.out(out.x_adv);
  const std::int32_t* labels = staging.in(in.labels, rows);
  const double* eps = staging.in(in.eps, rows);
  const float *box_lo = staging.in(in.box_lo, n), *box_hi = staging.in(in.box_hi, n);
  const double *exact_lo = staging.in(in.exact_lo, n), *exact_hi = staging.in(in.exact_hi, n);
  const float* weight = staging.in(parameters[0].data(), plan.classes() * n);
  const float* bias = parameters.size() > 1 ? staging.in(parameters[1].data(), plan.classes()) : nullptr;
  double *distance = staging.out(out.distance, rows), *margin = staging.out(out.margin, rows);
  for_slabs({k, arenas, interruption, rows, 4 * padded(n), work, 0}, [&](Worker& w) {
    const Stream stream = w.context.stream;
    const Rows x0 = w.arena.take_rows(w.slab_rows, n), worst = w.arena.take_rows(w.slab_rows, n);
    const Rows lo = w.arena.take_rows(w.slab_rows, n), hi = w.arena.take_rows(w.slab_rows, n);
    LinearCase c;
    c.norm = in.norm;
    c.features = n;
    c.classes = plan.classes();
    c.x0 = x0.data;
    c.lo = lo.data;
    c.hi = hi.data;
    c.ld = x0.ld;
    c.weight = weight;
    c.bias = bias;
    c.x = worst.data;
    for (Index first; w.next(first, c.rows);) {
      k.load_rows(stream, inputs, nullptr, first, c.rows, x0.data, x0.ld);
      k.limits(stream, {c.rows, n, x0.data, x0.ld, nullptr, box_lo, box_hi, nullptr, 0, lo.data, hi.data});
      c.labels = labels + first;
      c.eps = eps + first;
      c.margin = margin + first;
      k.linear_exact(stream, c);
      k.store_rows(stream,
                   {in.norm, c.rows, n, worst.data, worst.ld, inputs, x_adv, first, eps, exact_lo, exact_hi, distance});
    }
  });
  staging.finish();
}

}  // namespace epsball
