// Runs the closed form slab by slab.
#include "attacks/linear_exact.h"

#include <stdexcept>

#include "attacks/linear_row.h"
#include "layers/linear.h"
#include "slabs.h"

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
  for_slabs({k, arenas, interruption, in.x.rows, 4 * padded(n), work, 0}, [&](Worker& w) {
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
    c.weight = parameters[0].data();
    c.bias = parameters.size() > 1 ? parameters[1].data() : nullptr;
    c.x = worst.data;
    for (Index first; w.next(first, c.rows);) {
      k.load_rows(stream, in.x, nullptr, first, c.rows, x0.data, x0.ld);
      k.limits(stream, {c.rows, n, x0.data, x0.ld, nullptr, in.box_lo, in.box_hi, nullptr, 0, lo.data, hi.data});
      c.labels = in.labels + first;
      c.eps = in.eps + first;
      c.margin = out.margin + first;
      k.linear_exact(stream, c);
      k.store_rows(stream, {in.norm, c.rows, n, worst.data, worst.ld, in.x, out.x_adv, first, in.eps, in.exact_lo,
                            in.exact_hi, out.distance});
    }
  });
}

}  // namespace epsball
