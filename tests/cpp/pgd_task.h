// PGD on a small model, with all that it returns.
#pragma once

#include <numeric>

#include "attacks/pgd.h"
#include "check.h"
#include "models.h"
#include "rounding.h"

namespace epsball::test {

// All that an attack returns.
struct Found {
  std::vector<float> x_adv, loss, trace;
  std::vector<std::uint8_t> success, zero_gradient, broken;
  std::vector<std::int64_t> queries;
  std::vector<double> distance;

  friend bool operator==(const Found& a, const Found& b) {
    return same_bits(a.x_adv, b.x_adv) && same_bits(a.loss, b.loss) && same_bits(a.trace, b.trace) &&
           a.success == b.success && a.zero_gradient == b.zero_gradient && a.broken == b.broken &&
           a.queries == b.queries && a.distance == b.distance;
  }
};

// Inputs around which a model is attacked.
struct Task {
  Model& model;
  Index rows;
  std::vector<float> x;
  std::vector<std::int32_t> y;
  PgdSettings settings;
  double eps = 0.1;

  Task(Model& m, Index n) : model(m), rows(n), x(uniform_floats(n * m.features(), 21, 0, 1, 0.2f)) {
    std::vector<std::int32_t> wanted = labels(rows, m.classes());
    y.swap(wanted);
    settings.steps = 6;
  }

  // Rows [first, first + count) of the task.
  Found run(Index first, Index count) const {
    const Index d = model.features();
    const auto n = static_cast<std::size_t>(count);
    std::vector<float> radius(n, float_below(eps)), size(n, float_below(eps / 4));
    std::vector<double> exact(n, eps);
    std::vector<float> lo(static_cast<std::size_t>(d), 0.0f), hi(static_cast<std::size_t>(d), 1.0f);
    std::vector<Index> ids(n);
    std::iota(ids.begin(), ids.end(), first);
    Guarded<float> from(std::vector<float>(x.begin() + first * d, x.begin() + (first + count) * d)), to(count * d);
    AttackInputs in;
    in.x = {from.data(), DType::float32, count, d};
    in.labels = in.judge = y.data() + first;
    in.eps = exact.data();
    in.radius = in.start_radius = radius.data();
    in.step_size = size.data();
    in.box_lo = lo.data();
    in.box_hi = hi.data();
    in.ids = ids.data();
    Found found;
    const auto columns = static_cast<std::size_t>(settings.restarts * (settings.steps + 1));
    found.loss.resize(n);
    found.trace.resize(n * columns, -1.0f);
    found.success.resize(n), found.zero_gradient.resize(n), found.broken.resize(n);
    found.queries.resize(n);
    found.distance.resize(n);
    AttackOutputs out;
    out.x_adv = {to.data(), DType::float32, count, d};
    out.success = found.success.data();
    out.distance = found.distance.data();
    out.queries = found.queries.data();
    out.loss = found.loss.data();
    out.zero_gradient = found.zero_gradient.data();
    out.broken = found.broken.data();
    out.trace = found.trace.data();
    out.trace_ld = static_cast<Index>(columns);
    Interruption never({});
    run_attack<PgdSlab>(*model.plan(), model.arenas(), settings, in, out, never);
    CHECK(from.intact() && to.intact());
    found.x_adv = to.copy();
    return found;
  }
  Found run() const { return run(0, rows); }
};

}  // namespace epsball::test
