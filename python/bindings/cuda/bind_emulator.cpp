// The emulator's hooks: streams, launches, memory and devices as the tests ask for them.
#include "bind_emulator.h"

#include <pybind11/numpy.h>

#include "emulate/memory.h"
#include "emulate/runtime.h"
#include "table.cuh"

namespace py = pybind11;
using epsball::Index;

namespace {

void bind_streams(py::module_& m) {
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
  m.def("waits", &epsball::cuda::emulate::waits, "How often the host waited for a stream.");
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
}

void bind_memory(py::module_& m) {
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
  m.def("memory", [] { return epsball::cuda::emulate::device_memory().bytes; }, "Bytes of device memory in use.");
  m.def("limit_memory", &epsball::cuda::emulate::limit_device_memory, py::arg("bytes"),
        "Bytes that the device has; 0: no end of them.");
}

void bind_devices(py::module_& m) {
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
}

}  // namespace

void bind_emulator(py::module_& m) {
  bind_streams(m);
  bind_memory(m);
  bind_devices(m);
}
