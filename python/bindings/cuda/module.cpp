// The module epsball._cuda, or _cuda_emulated for the tests: a GPU's table, handed to the engine in epsball._native.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "bind_emulator.h"
#include "table.cuh"

namespace py = pybind11;
using epsball::Index;

namespace {

epsball::cuda::Precision precision_of(const std::string& name) {
  using epsball::cuda::Precision;
  if (name == "float32") return Precision::float32;
  if (name == "tf32") return Precision::tf32;
  if (name == "bf16") return Precision::bf16;
  throw py::value_error("precision: wanted 'float32', 'tf32' or 'bf16', got '" + name + "'");
}

}  // namespace

PYBIND11_MODULE(EPSBALL_CUDA_MODULE, m) {
  m.doc() = "The GPU's kernels; epsball._native.add_table takes what `table` gives.";
  m.def("problem", &epsball::cuda::device_problem, "Why no device can be used, in words; empty if one can.");
  m.def(
      "table",
      [](const std::string& precision) {
        return py::capsule(&epsball::cuda::table(precision_of(precision)), "epsball.Kernels " EPSBALL_VERSION);
      },
      py::arg("precision") = "float32", "The table of float32, tf32 or bf16 products as a capsule.");
  m.def(
      "copy_to_host",
      [](std::uintptr_t from, py::array& to, std::uintptr_t stream) {
        void* const data = to.mutable_data();
        const Index bytes = to.nbytes();
        const py::gil_scoped_release release;
        epsball::cuda::copy_to_host(data, reinterpret_cast<const void*>(from), bytes, stream);
      },
      py::arg("pointer"), py::arg("to"), py::arg("stream"), "Copies device memory once the stream is done with it.");
  m.def(
      "device_of", [](std::uintptr_t data) { return epsball::cuda::device_of(reinterpret_cast<const void*>(data)); },
      py::arg("address"), "The device whose memory this is; -1: none's.");
#ifdef EPSBALL_EMULATED
  bind_emulator(m);
#endif
}
