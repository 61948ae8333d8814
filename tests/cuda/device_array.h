// Device memory for the tests: filled from the host, read back as a vector, freed at the end.
#pragma once

#include <vector>

#include "launch.cuh"

namespace epsball::test {

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(Index count, cuda::cudaStream_t stream = nullptr)
      : count_(count), data_(static_cast<T*>(cuda::malloc_async(bytes(), stream))) {}
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(static_cast<Index>(values.size())) {
    cuda::memcpy_async(data_, values.data(), bytes(), nullptr, cuda::cudaMemcpyHostToDevice);
  }
  ~DeviceArray() { cuda::free_async(data_, nullptr); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() { return data_; }
  std::size_t bytes() const { return static_cast<std::size_t>(count_) * sizeof(T); }
  std::vector<T> host() const {
    std::vector<T> values(static_cast<std::size_t>(count_));
    cuda::memcpy_async(values.data(), data_, bytes(), nullptr, cuda::cudaMemcpyDeviceToHost);
    cuda::synchronize(nullptr);
    return values;
  }

 private:
  Index count_;
  T* data_;
};

}  // namespace epsball::test
