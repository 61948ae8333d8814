// The module epsball._cuda, or _cuda_emulated for the tests: a GPU's table, handed to the engine in epsball._native.
#include <pybind11/pybind11.h>

#include "table.cuh"
#ifdef EPSBALL_EMULATED
#include "emulate/memory.h"
#endif

namespace py = pybind11;

PYBIND11_MODULE(EPSBALL_CUDA_MODULE, m) {
  m.doc() = "The GPU's kernels; epsball._native.add_table takes what `table` gives.";
  m.def("problem", &epsball::cuda::device_problem, "Why no device can be used, in words; empty if one can.");
  m.def(
      "table", [] { return py::capsule(&epsball::cuda::table(), "epsball.Kernels " EPSBALL_VERSION); },
      "The table as a capsule.");
#ifdef EPSBALL_EMULATED
  m.def("memory", [] { return epsball::cuda::emulate::device_memory().bytes; }, "Bytes of device memory in use.");
  m.def("limit_memory", &epsball::cuda::emulate::limit_device_memory, py::arg("bytes"),
        "Bytes that the device has; 0: no end of them.");
#endif
}
