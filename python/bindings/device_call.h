// A call on arrays that lie on a device: it runs on their stream, and they are checked where they are.
#pragma once

#include <optional>

#include "arrays.h"
#include "box.h"
#include "given.h"
#include "slab.h"

namespace epsball::bindings {

// The memory of the array that `lend` of x returns for a number of bytes; no function where x has none.
inline Lender lender_of(const DeviceArray& x) {
  if (x.lend.is_none()) return {};
  return [&lend = x.lend](Index bytes) -> std::shared_ptr<void> {
    const py::gil_scoped_acquire gil;
    py::object lent = lend(bytes);
    if (lent.is_none()) return nullptr;
    const auto give_back = [array = lent.ptr()](void*) {
      if (!Py_IsInitialized()) return;  // the memory went with the process
      const py::gil_scoped_acquire again;
      Py_DECREF(array);
    };
    void* const data = lent.cast<const DeviceArray&>().data();
    lent.release();
    return {data, give_back};
  };
}

// For an array on the host it converts to false and checks nothing.
class DeviceCall {
 public:
  DeviceCall() = default;
  DeviceCall(const Given& x, const char* name, const Kernels& kernels, ArenaPool& arenas) {
    if (!x.device) return;
    if (x.device->kernels().device != kernels.device)
      throw py::type_error(std::string(name) + ": wanted an array in memory of '" + kernels.name +
                           "', got one in that of '" + x.device->table + "'");
    stream_of_x_ = x.device->queue();
    lender_ = lender_of(*x.device);
    queue_.emplace(stream_of_x_, lender_ ? &lender_ : nullptr);
    arena_.emplace(arenas, kernels);
    broken_ = take<std::int32_t>(1);
    kernels.fill(stream(), broken_, 0, sizeof *broken_);
  }

  explicit operator bool() const { return arena_.has_value(); }

  template <class T>
  T* take(Index count) {
    return arena().take<T>(count);
  }

  // What another array's stream has yet to write to it is waited for.
  void await(const Given& other) {
    if (!other.device || other.device->queue() == stream_of_x_) return;
    device().follow(stream(), other.device->queue());
    device().follow(stream(), stream_of_x_);
  }

  // Finite, and in the box if there is one; settle() knows.
  void check_rows(const Array& x, const Box* box = nullptr) {
    if (box) box->check_size(x.features);
    const bool boxed = box && box->given;
    device().check_rows(stream(), x, boxed ? here(box->lo) : nullptr, boxed ? here(box->hi) : nullptr, broken_);
  }

  // Class indices as the engine has them; settle() knows whether they are any.
  const std::int32_t* labels(const Given& y, const char* name, Index rows, Index classes) {
    check_labels(y.array, name, rows);
    await(y);
    auto* labels = take<std::int32_t>(rows);
    const Integers from{y.array.data(), rows, static_cast<int>(y.array.itemsize()), y.array.dtype().kind() == 'i'};
    device().read_labels(stream(), from, label_limit(classes), labels, broken_);
    return labels;
  }

  void write_labels(Index count, const std::int32_t* labels, std::int64_t* to) {
    device().write_labels(stream(), count, labels, to);
    finish();
  }

  // The call's own values in the dtype of `to`; whether that holds all of them.
  bool write_rows(const float* values, const Array& to) {
    std::int32_t broken = 0;
    kernels().fill(stream(), broken_, 0, sizeof broken);
    device().write_rows(stream(), values, to, broken_);
    kernels().copy(stream(), &broken, broken_, sizeof broken);
    finish();
    return !broken;
  }

  // Raises what was found wrong, as `check_copies`, which does the same on the host with copies, says it: an attack on
  // rows that are not finite need not end, so this comes before it.
  template <class F>
  void settle(F check_copies) {
    if (!arena_) return;
    std::int32_t broken = 0;
    kernels().copy(stream(), &broken, broken_, sizeof broken);
    finish();
    if (!broken) return;
    check_copies();
    throw std::logic_error("x, y: the device found a value that the host does not find");
  }

  bool all_finite(const float* values, Index count) {
    const py::gil_scoped_release release;
    return kernels().all_finite(stream(), count, values);
  }

  // An array's values, wherever it lies.
  py::array on_host(const Given& a) { return a.device ? on_host(a.array, a.device->data()) : a.array; }

  // The same of the call's own values.
  template <class T>
  std::vector<T> on_host(const T* values, Index count) {
    std::vector<T> copy(static_cast<std::size_t>(count));
    kernels().copy(stream(), copy.data(), values, count * static_cast<Index>(sizeof(T)));
    finish();
    return copy;
  }

 private:
  Arena& arena() { return **arena_; }
  Stream stream() { return arena().stream(); }
  const Kernels& kernels() { return arena().kernels(); }
  const Device& device() { return *kernels().device; }
  void finish() {
    const py::gil_scoped_release release;
    device().finish(stream());
  }

  const double* here(const std::vector<double>& values) {
    const auto count = static_cast<Index>(values.size());
    auto* copy = take<double>(count);
    kernels().copy(stream(), copy, values.data(), count * static_cast<Index>(sizeof(double)));
    return copy;
  }

  py::array on_host(const py::array& like, const void* data) {
    py::array copy(like.dtype(), std::vector<py::ssize_t>(like.shape(), like.shape() + like.ndim()));
    kernels().copy(stream(), copy.mutable_data(), data, copy.nbytes());
    finish();
    return copy;
  }

  void* stream_of_x_ = nullptr;
  Lender lender_;
  std::optional<OnCallersQueue> queue_;
  std::optional<Borrowed> arena_;
  std::int32_t* broken_ = nullptr;
};

// x, finite and in the box if there is one: on a device once settle() has said so.
inline RowsIn checked_rows(DeviceCall& call, const Given& x, Index features, const Box* box = nullptr) {
  RowsIn in = rows_in(x.array, "x", features);
  if (call) {
    call.check_rows(in.view, box);
    return in;
  }
  check_finite(in.view, "x");
  if (box) box->check(in.view);
  return in;
}

inline LabelsIn checked_labels(DeviceCall& call, const Given& y, Index rows, Index classes, Loss loss) {
  if (!y.device) return labels_or_targets_in(y.array, "y", rows, classes, loss);
  if (!call) throw py::type_error("y: wanted an array in CPU memory, as x is, got one on a device");
  check_classes(loss, classes);
  LabelsIn in;
  in.on_device = call.labels(y, "y", rows, classes);
  return in;
}

inline py::ssize_t product_of(const std::vector<py::ssize_t>& shape) {
  py::ssize_t product = 1;
  for (const py::ssize_t n : shape) product *= n;
  return product;
}

// Where a result goes: into an array of its own, or to what was allocated for it on the device.
template <class T>
struct Result {
  py::object array;
  T* data;

  Result(const DeviceCall& call, const py::object& out, std::vector<py::ssize_t> shape) {
    if (!call) {
      auto a = new_array<T>(std::move(shape));
      data = a.mutable_data();
      array = a;
      return;
    }
    const auto& given = out.cast<const DeviceArray&>();
    if (product_of(given.shape) != product_of(shape) || !given.dtype.equal(py::dtype::of<T>()))
      throw py::value_error("out: wanted " + std::to_string(product_of(shape)) + " values of another type or number");
    data = static_cast<T*>(given.data());
    array = out;
  }
};

// Where derivatives go, which have x's dtype: on the host as the engine's floats, for Python to convert; on a device
// these become it where they are.
class Derivatives {
 public:
  Derivatives(DeviceCall& call, const py::object& out, const std::vector<py::ssize_t>& shape)
      : call_(call), shape_(shape), count_(product_of(shape)) {
    if (call && !out.cast<const DeviceArray&>().dtype.equal(py::dtype::of<float>())) {
      to_ = &out.cast<const DeviceArray&>();
      if (product_of(to_->shape) != count_) throw py::value_error("out: wanted another number of values");
      array_ = out;
      data_ = call.take<float>(count_);
    } else {
      const Result<float> result(call, out, shape);
      array_ = result.array;
      data_ = result.data;
    }
  }
  float* data() const { return data_; }

  // Once they are there. What `out` cannot hold comes to the host as floats.
  py::object array() {
    if (!to_) return array_;
    const Array to{to_->data(), dtype_of(py::array(to_->dtype, std::vector<py::ssize_t>{0}), "out"), 1, count_};
    if (call_.write_rows(data_, to)) return array_;
    const std::vector<float> values = call_.on_host(data_, count_);
    auto copy = new_array<float>(shape_);
    std::copy(values.begin(), values.end(), copy.mutable_data());
    return copy;
  }

 private:
  DeviceCall& call_;
  const std::vector<py::ssize_t> shape_;
  const Index count_;
  const DeviceArray* to_ = nullptr;
  py::object array_;
  float* data_ = nullptr;
};

}  // namespace epsball::bindings
