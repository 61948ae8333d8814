// The module epsball._cuda, or _cuda_emulated for the tests: a GPU's table, handed to the engine in epsball._native.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "table.cuh"
#ifdef EPSBALL_EMULATED
#include "emulate/memory.h"
#include "emulate/runtime.h"
#endif

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
  using Stream = epsball::cuda::cudaStream_t;
  m.def(
      "create_stream",
      [] {
        Stream stream = nullptr;
        epsball::cuda::cudaStreamCreate(&stream);
        return reinterpret_cast<std::uintptr_t>(stream);
      },
      "A stream, until `destroy_stream` of it.");
  m.def(
      "destroy_stream",
      [](std::uintptr_t stream) { epsball::cuda::cudaStreamDestroy(reinterpret_cast<Stream>(stream)); },
      py::arg("stream"));
  m.def(
      "calls", [](std::uintptr_t stream) { return epsball::cuda::emulate::calls_of(reinterpret_cast<Stream>(stream)); },
      py::arg("stream"), "How many calls the stream was given; 0: the default one.");
  m.def(
      "take_launches",
      [] {
        py::list all;
        for (const auto& l : epsball::cuda::emulate::take_launches()) {
          const std::string path = l.at.file_name();
          all.append(py::make_tuple(path.substr(path.rfind('/') + 1), l.grid.x * l.grid.y * l.grid.z,
                                    l.block.x * l.block.y * l.block.z));
        }
        return all;
      },
      "(file, blocks, threads of a block) of the launches since the last call of this, from its first call on.");
  m.def(
      "traffic",
      [] {
        const auto traffic = epsball::cuda::emulate::traffic();
        return py::make_tuple(traffic.to_device, traffic.to_host);
      },
      "Bytes that were copied to the device and to the host.");
  m.def(
      "empty",
      [](Index bytes) { return reinterpret_cast<std::uintptr_t>(epsball::cuda::table().device->allocate(bytes)); },
      py::arg("bytes"), "Device memory, until `release` of its address.");
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
  m.def(
      "current_device",
      [] {
        int device = 0;
        epsball::cuda::cudaGetDevice(&device);
        return device;
      },
      "The calling thread's.");
  m.def(
      "set_current_device",
      [](int device) {
        if (epsball::cuda::cudaSetDevice(device) != epsball::cuda::cudaSuccess)
          throw py::value_error("wanted device 0 or 1");
      },
      py::arg("device"), "Makes another device the calling thread's, as if there were one.");
  m.def("memory", [] { return epsball::cuda::emulate::device_memory().bytes; }, "Bytes of device memory in use.");
  m.def("limit_memory", &epsball::cuda::emulate::limit_device_memory, py::arg("bytes"),
        "Bytes that the device has; 0: no end of them.");
#endif
}
