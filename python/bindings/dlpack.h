// DLPack's description of an array by its published layout (v0.x: a capsule named "dltensor").
#pragma once

#include <cstdint>

namespace epsball::bindings::dlpack {

struct Device {
  std::int32_t type;
  std::int32_t id;
};

struct DataType {
  std::uint8_t code;  // 0: int, 1: unsigned, 2: float, 6: bool
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  std::int32_t dimensions;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: C-contiguous
  std::uint64_t byte_offset;
};

}  // namespace epsball::bindings::dlpack
