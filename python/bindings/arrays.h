// NumPy arrays in and out: every check that needs to look at shapes, dtypes or values, with errors that name the
// argument.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "array.h"
#include "dispatch.h"
#include "executor.h"
#include "half.h"
#include "kernels.h"
#include "names.h"

namespace epsball::bindings {

namespace py = pybind11;

inline std::string shape_text(const py::array& a) {
  std::string text = "(";
  for (py::ssize_t i = 0; i < a.ndim(); ++i) text += std::to_string(a.shape(i)) + (i + 1 < a.ndim() ? ", " : "");
  return text + (a.ndim() == 1 ? ",)" : ")");
}

// As short as tells it from others: std::to_string has 1e-9 as 0.000000 and 1e300 in 300 digits.
inline std::string number_text(double v) { return py::str(py::float_(v)); }

inline std::string dtype_text(const py::array& a) { return py::str(py::object(a.dtype())); }

inline bool native_order(const py::dtype& dtype) {
  return dtype.byteorder() != (std::endian::native == std::endian::little ? '>' : '<');
}

inline DType dtype_of(const py::array& a, const char* name) {
  const py::dtype dtype = a.dtype();
  if (dtype.kind() == 'f' && !native_order(dtype))
    throw py::type_error(std::string(name) + ": wanted float32, float64 or float16 in native byte order, got " +
                         dtype_text(a));
  if (dtype.kind() == 'f' && dtype.itemsize() == 4) return DType::float32;
  if (dtype.kind() == 'f' && dtype.itemsize() == 8) return DType::float64;
  if (dtype.kind() == 'f' && dtype.itemsize() == 2) return DType::float16;
  throw py::type_error(std::string(name) + ": wanted float32, float64 or float16, got " + dtype_text(a));
}

// The caller's rows as the engine sees them. `owner` keeps a contiguous copy alive where one had to be made.
struct RowsIn {
  py::array owner;
  Array view;
};

inline RowsIn rows_in(const py::array& a, const char* name, Index features) {
  const DType dtype = dtype_of(a, name);
  if (a.ndim() < 1) throw py::value_error(std::string(name) + ": wanted a batch of inputs, got a scalar");
  Index per_row = 1;
  for (py::ssize_t i = 1; i < a.ndim(); ++i) per_row *= a.shape(i);
  if (per_row != features)
    throw py::value_error(std::string(name) + ": wanted (N, ...) with " + std::to_string(features) +
                          " features per row, got shape " + shape_text(a));
  RowsIn in{py::array::ensure(a, py::array::c_style), {}};
  in.view = {const_cast<void*>(in.owner.data()), dtype, a.shape(0), features};
  return in;
}

// Calls f(i, value) with every element as a double.
template <class F>
void for_values(const Array& a, F f) {
  const Index count = a.rows * a.features;
  if (a.dtype == DType::float32)
    for (Index i = 0; i < count; ++i) f(i, static_cast<double>(static_cast<const float*>(a.data)[i]));
  if (a.dtype == DType::float64)
    for (Index i = 0; i < count; ++i) f(i, static_cast<const double*>(a.data)[i]);
  if (a.dtype == DType::float16)
    for (Index i = 0; i < count; ++i)
      f(i, static_cast<double>(generic::half_to_float(static_cast<const std::uint16_t*>(a.data)[i])));
}

inline bool all_finite(const float* values, Index count) { return host_table().all_finite(nullptr, count, values); }

inline void check_finite(const Array& a, const char* name) {
  constexpr float kMost = std::numeric_limits<float>::max();
  const double most = kMost;
  bool finite = true;
  if (a.dtype == DType::float32)
    finite = all_finite(static_cast<const float*>(a.data), a.rows * a.features);
  else
    for_values(a, [&](Index, double v) { finite &= v >= -most && v <= most; });
  if (finite) return;
  Index at = -1;
  double value = 0;
  for_values(a, [&](Index i, double v) {
    if (at < 0 && !(v >= -most && v <= most)) at = i, value = v;
  });
  throw py::value_error(std::string(name) + ": wanted finite float32 values, got " + number_text(value) + " in row " +
                        std::to_string(at / a.features));
}

// The same for an array of any layout and byte order, before it is cast: NumPy warns where a cast overflows.
inline void check_finite(const py::array& a, const char* name) {
  py::object native = a;
  if (!native_order(a.dtype())) native = a.attr("astype")(a.dtype().attr("newbyteorder")("="));
  const py::array rows = py::array::ensure(native, py::array::c_style);
  check_finite(Array{const_cast<void*>(rows.data()), dtype_of(rows, name), 1, rows.size()}, name);
}

// Probabilities in half precision may miss a sum of 1 by almost 1e-3; a single class has no sum to keep.
inline void check_probabilities(const float* p, const char* name, Index rows, Index classes) {
  for (Index r = 0; r < rows; ++r) {
    double total = 0;
    for (Index j = 0; j < classes; ++j) {
      const double v = p[r * classes + j];
      total += v;
      if (v < 0.0 || v > 1.0)
        throw py::value_error(std::string(name) + ": wanted probabilities in [0, 1], got " + number_text(v) +
                              " in row " + std::to_string(r));
    }
    if (classes > 1 && !(total > 0.999 && total < 1.001))
      throw py::value_error(std::string(name) + ": wanted probabilities that sum to 1, got a sum of " +
                            number_text(total) + " in row " + std::to_string(r));
  }
}

// Labels (N,) of any integer dtype, or probabilities / targets (N, K) of a floating one.
struct LabelsIn {
  std::vector<std::int32_t> labels;
  py::array_t<float, py::array::c_style | py::array::forcecast> targets;
  bool soft = false;
  const std::int32_t* on_device = nullptr;  // and then the others are empty

  const std::int32_t* hard_data() const { return soft ? nullptr : on_device ? on_device : labels.data(); }
  const float* soft_data() const { return soft ? targets.data() : nullptr; }
};

// The dtype and shape of class indices.
inline void check_labels(const py::array& y, const char* name, Index rows) {
  const char kind = y.dtype().kind();
  if (kind != 'i' && kind != 'u' && kind != 'b')
    throw py::type_error(std::string(name) + ": wanted integer class indices, got " + dtype_text(y));
  if (y.ndim() != 1 || y.shape(0) != rows)
    throw py::value_error(std::string(name) + ": wanted " + std::to_string(rows) + " labels, shape (" +
                          std::to_string(rows) + ",), got shape " + shape_text(y));
}

// A logistic model's labels are 0 and 1.
inline Index label_limit(Index classes) { return classes == 1 ? 2 : classes; }

inline std::vector<std::int32_t> labels_in(const py::array& y, const char* name, Index rows, Index classes) {
  check_labels(y, name, rows);
  const auto values = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>::ensure(y);
  const Index limit = label_limit(classes);
  std::vector<std::int32_t> labels(static_cast<std::size_t>(rows));
  for (Index i = 0; i < rows; ++i) {
    const std::int64_t v = values.data()[i];
    if (v < 0 || v >= limit)
      throw py::value_error(std::string(name) + ": wanted class indices from 0 to " + std::to_string(limit - 1) +
                            ", got " + std::string(py::str(y[py::int_(i)])) + " in row " + std::to_string(i));
    labels[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(v);
  }
  return labels;
}

// Whether a loss has enough classes to compare.
inline void check_classes(Loss loss, Index classes) {
  const Index least = loss == Loss::dlr_targeted ? 4 : loss == Loss::dlr ? 3 : 1;
  if (classes < least)
    throw py::value_error(std::string("loss: '") + name_of(loss) + "' compares " + std::to_string(least) +
                          " classes or more" + (least == 4 ? " where it is targeted" : "") + ", got a model with " +
                          std::to_string(classes));
}

inline LabelsIn labels_or_targets_in(const py::array& y, const char* name, Index rows, Index classes, Loss loss) {
  check_classes(loss, classes);
  LabelsIn in;
  if (y.dtype().kind() != 'f') {
    in.labels = labels_in(y, name, rows, classes);
    return in;
  }
  if (loss != Loss::cross_entropy && loss != Loss::squared_error && loss != Loss::confidence)
    throw py::type_error(std::string(name) + ": the " + name_of(loss) + " loss takes class indices, got " +
                         dtype_text(y));
  if (y.ndim() != 2 || y.shape(0) != rows || y.shape(1) != classes)
    throw py::value_error(std::string(name) + ": wanted integer class indices of shape (" + std::to_string(rows) +
                          ",) or one value per class of shape (" + std::to_string(rows) + ", " +
                          std::to_string(classes) + "), got " + dtype_text(y) + " of shape " + shape_text(y));
  in.soft = true;
  check_finite(y, name);
  in.targets = y;
  if (loss == Loss::cross_entropy || loss == Loss::confidence)
    check_probabilities(in.targets.data(), name, rows, classes);
  return in;
}

// A number or one per row.
inline std::vector<double> per_row(const py::object& value, const char* name, Index rows) {
  std::vector<double> values;
  if (py::isinstance<py::float_>(value) || py::isinstance<py::int_>(value)) {
    values.assign(static_cast<std::size_t>(rows), value.cast<double>());
  } else {
    // NumPy would cast anything: None is NaN to it, "0.1" and True are numbers.
    const py::array given = py::array::ensure(value);
    const bool numbers = given && std::string("fiu").find(given.dtype().kind()) != std::string::npos;
    py::array_t<double, py::array::c_style | py::array::forcecast> a;
    if (numbers) a = decltype(a)::ensure(given);
    if (!numbers || !a) {
      PyErr_Clear();
      throw py::type_error(std::string(name) + ": wanted a number or one per row, got " +
                           std::string(py::str(py::type::of(value))));
    }
    if (a.ndim() == 0)
      values.assign(static_cast<std::size_t>(rows), *a.data());
    else if (a.ndim() == 1 && a.shape(0) == rows)
      values.assign(a.data(), a.data() + rows);
    else
      throw py::value_error(std::string(name) + ": wanted a number or shape (" + std::to_string(rows) +
                            ",), got shape " + shape_text(a));
  }
  for (const double v : values)
    if (!(v >= 0.0) || v > std::numeric_limits<float>::max())
      throw py::value_error(std::string(name) + ": wanted numbers from 0 to 3.40282e+38, got " + number_text(v));
  return values;
}

// Runs `call` without the GIL; Ctrl-C stops it within a fraction of a second.
template <class F>
auto without_gil(F call) {
  Interruption interruption([] {
    const py::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
  });
  try {
    const py::gil_scoped_release release;
    return call(interruption);
  } catch (const Interrupted&) {
    throw py::error_already_set();
  }
}

template <class T>
py::array_t<T> new_array(std::vector<py::ssize_t> shape) {
  return py::array_t<T>(std::move(shape));
}

}  // namespace epsball::bindings
