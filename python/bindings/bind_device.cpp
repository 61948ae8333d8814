// What the engine is told of an array that lies on a device.
#include "bind.h"
#include "dlpack.h"
#include "given.h"

#include <pybind11/stl.h>

namespace epsball::bindings {
namespace {

// The NumPy name of a type, as "f4"; empty for what NumPy has not.
std::string name_of(dlpack::DataType t) {
  constexpr const char* kKinds[] = {"i", "u", "f", "", "", "", "b"};
  const bool known = t.code < 7 && *kKinds[t.code] && t.lanes == 1 && t.bits % 8 == 0;
  return known ? kKinds[t.code] + std::to_string(t.bits / 8) : std::string();
}

// (address, dtype's name, shape, strides in elements or None): the capsule goes on owning what it describes.
py::tuple read_dlpack(const py::capsule& capsule) {
  if (!capsule.name() || std::string(capsule.name()) != "dltensor")
    throw py::type_error("wanted a DLPack capsule named 'dltensor' that nobody has taken");
  const auto& t = *capsule.get_pointer<const dlpack::Tensor>();
  const auto list = [&](const std::int64_t* values) {
    py::tuple all(t.dimensions);
    for (std::int32_t i = 0; i < t.dimensions; ++i) all[static_cast<py::size_t>(i)] = py::int_(values[i]);
    return all;
  };
  const auto address = reinterpret_cast<std::uintptr_t>(t.data) + t.byte_offset;
  const py::object strides = t.strides ? py::object(list(t.strides)) : py::none();
  return py::make_tuple(address, name_of(t.dtype), list(t.shape), strides);
}

}  // namespace

void bind_device(py::module_& m) {
  py::class_<DeviceArray>(m, "DeviceArray", "An array on a device: where it lies, not what it holds.")
      .def(py::init([](py::object owner, std::string table, std::uintptr_t address, const py::dtype& dtype,
                       std::vector<py::ssize_t> shape, std::uintptr_t stream, bool writable, py::object lend,
                       py::object lease) {
             return DeviceArray{std::move(owner), std::move(lease), std::move(lend), std::move(table), address, dtype,
                                std::move(shape), stream,           writable};
           }),
           py::arg("owner"), py::arg("table"), py::arg("address"), py::arg("dtype"), py::arg("shape"),
           py::arg("stream"), py::arg("writable"), py::arg("lend"), py::arg("lease") = py::none())
      .def_readonly("owner", &DeviceArray::owner, "Whose memory it is.")
      .def_readonly("address", &DeviceArray::address)
      .def_readonly("dtype", &DeviceArray::dtype)
      .def_property_readonly("shape", [](const DeviceArray& a) { return py::tuple(py::cast(a.shape)); })
      .def_property_readonly("ndim", [](const DeviceArray& a) { return a.shape.size(); })
      .def_readonly("stream", &DeviceArray::stream, "By which the values are there; 0: the default one.")
      .def("__len__", [](const DeviceArray& a) { return a.shape.empty() ? 0 : a.shape[0]; });
  m.def("read_dlpack", &read_dlpack, py::arg("capsule"),
        "(address, dtype as NumPy names it or '', shape, strides in elements or None) of a DLPack capsule.");
}

}  // namespace epsball::bindings
