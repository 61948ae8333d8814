// The box of an attack as the caller gives it.
#pragma once

#include "arrays.h"
#include "rounding.h"

namespace epsball::bindings {

// The box of an attack, per feature: exact, as floats inside it, and whether there is one at all. Python makes it once
// for many calls.
struct Box {
  std::vector<double> lo, hi;
  std::vector<float> inner_lo, inner_hi;
  bool given = false;

  // Each side is a number or an array of one input; both None: no box.
  Box(const py::object& lower, const py::object& upper, Index features) {
    const auto n = static_cast<std::size_t>(features);
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    inner_lo.assign(n, -kInfinity);
    inner_hi.assign(n, kInfinity);
    if (lower.is_none()) return;
    given = true;
    set_side(lower, n, float_above, lo, inner_lo);
    set_side(upper, n, float_below, hi, inner_hi);
    const auto crossed = std::mismatch(lo.begin(), lo.end(), hi.begin(), std::less_equal<>());
    if (crossed.first != lo.end())
      throw py::value_error("bounds: wanted lower <= upper, got " + number_text(*crossed.first) + " and " +
                            number_text(*crossed.second));
  }
  const double* exact_lo() const { return given ? lo.data() : nullptr; }
  const double* exact_hi() const { return given ? hi.data() : nullptr; }

  void check_size(Index features) const {
    if (static_cast<Index>(inner_lo.size()) != features)
      throw py::value_error("bounds: wanted a box of " + std::to_string(features) + " features, got one of " +
                            std::to_string(inner_lo.size()));
  }

  void check(const Array& x) const {
    check_size(x.features);
    if (!given || all_inside(x)) return;
    for_values(x, [&](Index i, double v) {
      const auto f = static_cast<std::size_t>(i % x.features);
      if (v < lo[f] || v > hi[f])
        throw py::value_error("x: wanted values within bounds [" + number_text(lo[f]) + ", " + number_text(hi[f]) +
                              "], got " + number_text(v) + " in row " + std::to_string(i / x.features) +
                              "; pass bounds=None for no box");
    });
  }

 private:
  // A float is inside the exact box if and only if it is inside the one rounded inwards.
  bool all_inside(const Array& x) const {
    return x.dtype == DType::float32 &&
           host_table().all_inside(nullptr, x.rows, x.features, static_cast<const float*>(x.data), inner_lo.data(),
                                   inner_hi.data());
  }
  static void set_side(const py::handle& value, std::size_t n, float (*inwards)(double), std::vector<double>& exact,
                       std::vector<float>& inner) {
    if (py::isinstance<py::float_>(value) || py::isinstance<py::int_>(value)) {
      const auto v = value.cast<double>();
      exact.assign(n, v);
      inner.assign(n, inwards(v));
      return;
    }
    const auto a = py::array_t<double, py::array::c_style | py::array::forcecast>::ensure(value);
    if (!a || a.size() != static_cast<py::ssize_t>(n))
      throw py::value_error("bounds: wanted two numbers or two arrays of one input's shape");
    exact.assign(a.data(), a.data() + n);
    for (std::size_t i = 0; i < n; ++i) inner[i] = inwards(exact[i]);
  }
};

}  // namespace epsball::bindings
