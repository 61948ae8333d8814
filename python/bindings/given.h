// Array arguments: NumPy's, or arrays that lie on the device where their model computes.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "dispatch.h"

namespace epsball::bindings {

namespace py = pybind11;

// An array in the memory of a table's device, contiguous and aligned; the host reads none of its values.
struct DeviceArray {
  py::object owner;  // whose memory it is
  py::object lease;  // what keeps that memory as it was described, or None
  py::object lend;   // called with a number of bytes: a DeviceArray of its library's, None where that is full; or None
  std::string table;
  std::uintptr_t address = 0;
  py::dtype dtype;
  std::vector<py::ssize_t> shape;
  std::uintptr_t stream = 0;  // its owner's, by which the values are there: a cudaStream_t, 0 being the default one
  bool writable = true;

  const Kernels& kernels() const { return table_named(table); }
  void* data() const { return reinterpret_cast<void*>(address); }
  void* queue() const { return reinterpret_cast<void*>(stream); }
};

// `array` has dtype and shape of either; its data is an address on the device where `device` is not null.
struct Given {
  py::array array = py::reinterpret_steal<py::array>(py::handle());
  const DeviceArray* device = nullptr;

  Given() = default;
  Given(const py::array& a) : array(a) {}
  explicit Given(const py::handle& a, const DeviceArray& on_device)
      : array(on_device.dtype, on_device.shape, {}, on_device.data(), a), device(&on_device) {}
};

}  // namespace epsball::bindings

template <>
struct pybind11::detail::type_caster<epsball::bindings::Given> {
  PYBIND11_TYPE_CASTER(epsball::bindings::Given, const_name("numpy.ndarray | DeviceArray"));

  bool load(handle source, bool) {
    if (isinstance<array>(source))
      value = epsball::bindings::Given(reinterpret_borrow<array>(source));
    else if (isinstance<epsball::bindings::DeviceArray>(source))
      value = epsball::bindings::Given(source, source.cast<const epsball::bindings::DeviceArray&>());
    else
      return false;
    return true;
  }
};
