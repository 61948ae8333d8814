// The module epsball._cuda, or _cuda_emulated for the tests: a GPU's table, handed to the engine in epsball._native.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "table.cuh"
#ifdef EPSBALL_EMULATED
#include "emulate/memory.h"
#endif

namespace py = pybind11;
using epsball::Index;

PYBIND11_MODULE(EPSBALL_CUDA_MODULE, m) {
  m.doc() = "The GPU's kernels; epsball._native.add_table takes what `table` gives.";
  m.def("problem", &epsball::cuda::device_problem, "Why no device can be used, in words; empty if one can.");
  m.def(
      "table", [] { return py::capsule(&epsball::cuda::table(), "epsball.Kernels " EPSBALL_VERSION); },
      "The table as a capsule.");
  m.def(
      "copy_to_host",
      [](std::uintptr_t from, py::array& to, std::uintptr_t stream) {
        void* const data = to.mutable_data();
        const Index bytes = to.nbytes();
        const py::gil_scoped_release release;
        epsball::cuda::copy_to_host(data, reinterpret_cast<const void*>(from), bytes, stream);
      },
      py::arg("pointer"), py::arg("to"), py::arg("stream"), "Copies device memory once the stream is done with it.");
#ifdef EPSBALL_EMULATED
  m.def(
      "array",
      [](const py::array& values) {
        void* const data = epsball::cuda::table().device->allocate(values.nbytes());
        epsball::cuda::table().copy(nullptr, data, values.data(), values.nbytes());
        return reinterpret_cast<std::uintptr_t>(data);
      },
      py::arg("values"), "Device memory with these values, until `release` of its address.");
  m.def(
      "release", [](std::uintptr_t data) { epsball::cuda::table().device->release(reinterpret_cast<void*>(data)); },
      py::arg("address"));
  m.def("memory", [] { return epsball::cuda::emulate::device_memory().bytes; }, "Bytes of device memory in use.");
  m.def("limit_memory", &epsball::cuda::emulate::limit_device_memory, py::arg("bytes"),
        "Bytes that the device has; 0: no end of them.");
#endif
}
