// Forward and backward passes over all rows of the caller, slab by slab.
#include "calls.h"

#include "staging.h"

namespace epsball {
namespace {

Job job_of(const Caller& c, const Array& x, double passes) {
  const Index floats = 2 * padded(c.target.features()) + c.target.floats_per_row();
  return job_on(c.target, c.arenas, c.interruption, x.rows, floats, passes);
}

}  // namespace

void call_logits(const Caller& c, const Array& x, float* logits, std::int32_t* predicted, float* judged) {
  const Kernels& k = c.target.kernels();
  const Index classes = c.target.classes();
  Staging staging(k, c.arenas);
  const Array inputs = staging.in(x);
  logits = staging.out(logits, x.rows * classes);
  predicted = staging.out(predicted, x.rows);
  judged = staging.out(judged, x.rows);
  for_slabs(job_of(c, x, 1), [&](Worker& w) {
    const Stream stream = w.context.stream;
    const Rows in = w.arena.take_rows(w.slab_rows, c.target.features());
    auto* label = w.arena.take<std::int32_t>(w.slab_rows);
    const auto pass = c.target.open(w.context, w.arena, w.slab_rows);
    for (Index first, rows; w.next(first, rows);) {
      k.load_rows(stream, inputs, nullptr, first, rows, in.data, in.ld);
      const Rows z = pass->forward(rows, in);
      if (logits) k.copy_rows(stream, rows, classes, z.data, z.ld, logits + first * classes, classes, nullptr, nullptr);
      if (!predicted) continue;
      k.fill(stream, label, 0, rows * static_cast<Index>(sizeof(*label)));
      LossRows loss;
      loss.kind = Loss::margin;
      loss.rows = rows;
      loss.classes = classes;
      loss.logits = z.data;
      loss.ld = z.ld;
      loss.labels = label;
      loss.loss = judged + first;
      loss.predicted = predicted + first;
      k.loss(stream, loss);
    }
  });
  staging.finish();
}

void call_probabilities(const Caller& c, const Array& x, bool log_confidences, float* logits, float* p) {
  const Kernels& k = c.target.kernels();
  const Index classes = c.target.classes();
  Staging staging(k, c.arenas);
  const Array inputs = staging.in(x);
  logits = staging.out(logits, x.rows * classes);
  p = staging.out(p, x.rows * classes);
  for_slabs(job_of(c, x, 1), [&](Worker& w) {
    const Stream stream = w.context.stream;
    const Rows in = w.arena.take_rows(w.slab_rows, c.target.features());
    const auto pass = c.target.open(w.context, w.arena, w.slab_rows);
    for (Index first, rows; w.next(first, rows);) {
      k.load_rows(stream, inputs, nullptr, first, rows, in.data, in.ld);
      const Rows z = pass->forward(rows, in);
      const Index at = first * classes;
      k.copy_rows(stream, rows, classes, z.data, z.ld, logits + at, classes, nullptr, nullptr);
      if (log_confidences)
        k.activation_forward(stream, {Activation::exp, 0.0f}, rows, classes, z.data, z.ld, p + at, classes);
      else
        k.softmax(stream, rows, classes, z.data, z.ld, p + at, classes);
    }
  });
  staging.finish();
}

void call_loss(const Caller& c, const Array& x, const Labels& y, float* loss, float* gradient) {
  const Kernels& k = c.target.kernels();
  const Index features = c.target.features(), classes = c.target.classes();
  Staging staging(k, c.arenas);
  const Array inputs = staging.in(x);
  const std::int32_t* labels = staging.in(y.labels, x.rows);
  const float* targets = staging.in(y.targets, x.rows * classes);
  loss = staging.out(loss, x.rows);
  gradient = staging.out(gradient, x.rows * features);
  for_slabs(job_of(c, x, gradient ? 2 : 1), [&](Worker& w) {
    const Stream stream = w.context.stream;
    const Rows in = w.arena.take_rows(w.slab_rows, features);
    auto* predicted = w.arena.take<std::int32_t>(w.slab_rows);
    const auto pass = c.target.open(w.context, w.arena, w.slab_rows);
    for (Index first, rows; w.next(first, rows);) {
      k.load_rows(stream, inputs, nullptr, first, rows, in.data, in.ld);
      const Rows z = pass->forward(rows, in), dz = pass->dlogits();
      LossRows l;
      l.kind = y.loss;
      l.rows = rows;
      l.classes = classes;
      l.logits = z.data;
      l.ld = z.ld;
      l.labels = labels ? labels + first : nullptr;
      l.targets = targets ? targets + first * classes : nullptr;
      l.targets_ld = classes;
      l.loss = loss + first;
      l.predicted = predicted;
      l.dlogits = gradient ? dz.data : nullptr;
      l.dlogits_ld = dz.ld;
      k.loss(stream, l);
      if (gradient) pass->backward(rows, in, {gradient + first * features, features}, nullptr);
    }
  });
  staging.finish();
}

void call_jacobian(const Caller& c, const Array& x, float* jacobian) {
  const Kernels& k = c.target.kernels();
  const Index features = c.target.features(), classes = c.target.classes();
  std::vector<float> identity(static_cast<std::size_t>(classes * classes));
  for (Index i = 0; i < classes; ++i) identity[static_cast<std::size_t>(i * classes + i)] = 1.0f;
  Staging staging(k, c.arenas);
  const Array inputs = staging.in(x);
  const float* units = staging.in(identity.data(), classes * classes);
  jacobian = staging.out(jacobian, x.rows * classes * features);
  for_slabs(job_of(c, x, static_cast<double>(1 + classes)), [&](Worker& w) {
    const Stream stream = w.context.stream;
    const Rows in = w.arena.take_rows(w.slab_rows, features);
    const auto pass = c.target.open(w.context, w.arena, w.slab_rows);
    for (Index first, rows; w.next(first, rows);) {
      k.load_rows(stream, inputs, nullptr, first, rows, in.data, in.ld);
      pass->forward(rows, in);
      for (Index j = 0; j < classes; ++j) {
        const Rows dz = pass->dlogits();  // every row's is the unit vector j
        k.copy_rows(stream, rows, classes, units + j * classes, 0, dz.data, dz.ld, nullptr, nullptr);
        float* dx = jacobian + (first * classes + j) * features;
        pass->backward(rows, in, {dx, classes * features}, nullptr);
      }
    }
  });
  staging.finish();
}

}  // namespace epsball
