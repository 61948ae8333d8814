// Building blocks on the caller's own float32 arrays, in place: one fused attack step, and projections.
#include "arrays.h"
#include "bind.h"
#include "box.h"
#include "device_call.h"
#include "dispatch.h"
#include "names.h"
#include "rounding.h"
#include "slabs.h"
#include "staging.h"

namespace epsball::bindings {
namespace {

// The caller's memory itself, never a copy.
float* in_place(const Given& given, const char* name, const Given& like, bool written) {
  const py::array& a = given.array;
  if (!given.device != !like.device)
    throw py::type_error(std::string(name) + ": wanted an array " + (like.device ? "on the device" : "in CPU memory") +
                         ", where x_adv is");
  if (dtype_of(a, name) != DType::float32)
    throw py::type_error(std::string(name) + ": wanted float32 (the operation works in place), got " + dtype_text(a));
  if (!(a.flags() & py::array::c_style))
    throw py::value_error(std::string(name) + ": wanted a C-contiguous array (the operation works in place)");
  const bool writable = given.device ? given.device->writable : a.writeable();
  if (written && !writable) throw py::value_error(std::string(name) + ": the array is read-only");
  if (a.ndim() != like.array.ndim() || !std::equal(a.shape(), a.shape() + a.ndim(), like.array.shape()))
    throw py::value_error(std::string(name) + ": wanted shape " + shape_text(like.array) + ", got " + shape_text(a));
  return static_cast<float*>(const_cast<void*>(a.data()));
}

struct Shape {
  Index rows, features;
  explicit Shape(const py::array& a) {
    if (a.ndim() < 1) throw py::value_error("x_adv: wanted a batch of rows, got a scalar");
    rows = a.shape(0);
    features = 1;
    for (py::ssize_t i = 1; i < a.ndim(); ++i) features *= a.shape(i);
  }
};

std::vector<float> radii(const py::object& value, const char* name, Index rows) {
  std::vector<float> floats;
  for (const double v : per_row(value, name, rows)) floats.push_back(float_below(v));
  return floats;
}

void check_values(const py::array& a, const char* name, Shape shape, const Box* box = nullptr) {
  const Array values{const_cast<void*>(a.data()), DType::float32, shape.rows, shape.features};
  check_finite(values, name);
  if (box) box->check(values);
}

// One of the arrays that a building block is given.
struct Operand {
  const Given& array;
  const char* name;
  const Box* box = nullptr;
};

void check_operands(DeviceCall& call, Shape shape, std::initializer_list<Operand> operands) {
  for (const Operand& o : operands) {
    if (!call) {
      check_values(o.array.array, o.name, shape, o.box);
      continue;
    }
    call.await(o.array);
    call.check_rows({o.array.device->data(), DType::float32, shape.rows, shape.features}, o.box);
  }
  call.settle([&] {
    for (const Operand& o : operands) check_values(call.on_host(o.array), o.name, shape, o.box);
  });
}

const Kernels& table_of(const Given& a) { return a.device ? a.device->kernels() : chosen_table(); }

// Of the building blocks; models have their own.
ArenaPool& arenas() {
  static ArenaPool pool;
  return pool;
}

// Runs f(stream, first, rows, lo, hi) on row ranges; lo and hi are the box (and for L-infinity the ball) of those rows.
// All arrays are in memory of the table.
template <class F>
void for_boxes(const Kernels& k, Staging& staging, Norm norm, Shape shape, const float* x0, const float* eps,
               const Box& box, F f) {
  const float *inner_lo = staging.in(box.inner_lo.data(), shape.features),
              *inner_hi = staging.in(box.inner_hi.data(), shape.features);
  without_gil([&](Interruption& interruption) {
    const double work = 8.0 * static_cast<double>(shape.rows * shape.features);
    for_slabs({k, arenas(), interruption, shape.rows, 4 * shape.features, work, 0}, [&](Worker& w) {
      auto* lo = w.arena.take<float>(w.slab_rows * shape.features);
      auto* hi = w.arena.take<float>(w.slab_rows * shape.features);
      for (Index first, rows; w.next(first, rows);) {
        k.limits(w.context.stream,
                 {rows, shape.features, x0 + first * shape.features, shape.features,
                  norm == Norm::linf ? eps + first : nullptr, inner_lo, inner_hi, nullptr, 0, lo, hi});
        f(w.context, first, rows, lo, hi);
      }
    });
    staging.finish();
  });
}

void sign_step(const Given& x_adv, const Given& gradient, const Given& x, const py::object& step_size,
               const py::object& eps, const Box& box) {
  const Shape shape(x_adv.array);
  float* to = in_place(x_adv, "x_adv", x_adv, true);
  const float *g = in_place(gradient, "grad", x_adv, false), *from = in_place(x, "x", x_adv, false);
  const auto radius = radii(eps, "eps", shape.rows), size = radii(step_size, "step_size", shape.rows);
  const Kernels& k = table_of(x_adv);
  DeviceCall call(x_adv, "x_adv", k, arenas());
  check_operands(call, shape, {{x_adv, "x_adv"}, {gradient, "grad"}, {x, "x", &box}});
  Staging staging(k, arenas());
  const Index count = shape.rows * shape.features;
  to = staging.update(to, count);
  g = staging.in(g, count);
  from = staging.in(from, count);
  const float *eps_here = staging.in(radius.data(), shape.rows), *size_here = staging.in(size.data(), shape.rows);
  for_boxes(k, staging, Norm::linf, shape, from, eps_here, box,
            [&](const Context& context, Index first, Index rows, const float* box_lo, const float* box_hi) {
              const Index at = first * shape.features;
              const BallRows ball{Norm::linf, rows,   shape.features, to + at,         from + at,
                                  box_lo,     box_hi, shape.features, eps_here + first};
              context.kernels.step(context.stream, {ball, g + at, shape.features, size_here + first, nullptr});
            });
}

void project(const Given& x_adv, const Given& x, const py::object& eps, const std::string& norm, const Box& box) {
  const Shape shape(x_adv.array);
  float* to = in_place(x_adv, "x_adv", x_adv, true);
  const float* from = in_place(x, "x", x_adv, false);
  const auto radius = radii(eps, "eps", shape.rows);
  const Norm which = norm_of(norm);
  const Kernels& k = table_of(x_adv);
  DeviceCall call(x_adv, "x_adv", k, arenas());
  check_operands(call, shape, {{x_adv, "x_adv"}, {x, "x", &box}});
  Staging staging(k, arenas());
  const Index count = shape.rows * shape.features;
  to = staging.update(to, count);
  from = staging.in(from, count);
  const float* eps_here = staging.in(radius.data(), shape.rows);
  for_boxes(k, staging, which, shape, from, eps_here, box,
            [&](const Context& context, Index first, Index rows, const float* box_lo, const float* box_hi) {
              const Index at = first * shape.features;
              context.kernels.project(context.stream, {which, rows, shape.features, to + at, from + at, box_lo, box_hi,
                                                       shape.features, eps_here + first});
            });
}

py::array_t<float> uniform(Index count, double lo, double hi, std::uint64_t seed, Index id) {
  auto a = new_array<float>({count});
  const Kernels& k = chosen_table();
  Staging staging(k, arenas());
  float* const out = staging.out(a.mutable_data(), count);
  k.uniform(nullptr, count, static_cast<float>(lo), static_cast<float>(hi), seed, id, out);
  staging.finish();
  return a;
}

}  // namespace

void bind_ops(py::module_& m) {
  m.def("sign_step", &sign_step, py::arg("x_adv"), py::arg("grad"), py::arg("x"), py::arg("step_size"), py::arg("eps"),
        py::arg("box"), "x_adv <- x_adv + step_size * sign(grad), into ball and box; in place.");
  m.def("project", &project, py::arg("x_adv"), py::arg("x"), py::arg("eps"), py::arg("norm"), py::arg("box"),
        "Projects x_adv onto the ball around x within the box; in place.");
  m.def("uniform", &uniform, py::arg("count"), py::arg("lo"), py::arg("hi"), py::arg("seed"), py::arg("id"),
        "Philox uniforms in [lo, hi), float32; the same on every table up to the last rounding.");
}

}  // namespace epsball::bindings
