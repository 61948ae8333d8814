// What the engine is told of an array that lies on a device.
#include "bind.h"
#include "given.h"

#include <pybind11/stl.h>

namespace epsball::bindings {

void bind_device(py::module_& m) {
  py::class_<DeviceArray>(m, "DeviceArray", "An array on a device: where it lies, not what it holds.")
      .def(py::init([](py::object owner, std::string table, std::uintptr_t address, const py::dtype& dtype,
                       std::vector<py::ssize_t> shape, std::uintptr_t stream, bool writable) {
             return DeviceArray{std::move(owner), std::move(table), address, dtype, std::move(shape), stream, writable};
           }),
           py::arg("owner"), py::arg("table"), py::arg("address"), py::arg("dtype"), py::arg("shape"),
           py::arg("stream"), py::arg("writable"))
      .def_readonly("owner", &DeviceArray::owner, "Whose memory it is.")
      .def_readonly("address", &DeviceArray::address)
      .def_readonly("dtype", &DeviceArray::dtype)
      .def_property_readonly("shape", [](const DeviceArray& a) { return py::tuple(py::cast(a.shape)); })
      .def_property_readonly("ndim", [](const DeviceArray& a) { return a.shape.size(); })
      .def_readonly("stream", &DeviceArray::stream, "By which the values are there; 0: the default one.")
      .def("__len__", [](const DeviceArray& a) { return a.shape.empty() ? 0 : a.shape[0]; });
}

}  // namespace epsball::bindings
