// What a failing CUDA call throws.
#pragma once

#include <stdexcept>

namespace epsball::cuda {

class CudaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace epsball::cuda
