// The GPU's table, filled once: "cuda", or "cuda-emulated" where g++ compiled it; mirrors cpp/table.cpp.
#include "launch.cuh"

#include "table.cuh"

namespace epsball::cuda {
namespace {

#ifdef __CUDACC__
constexpr const char* kName = "cuda";
#else
constexpr const char* kName = "cuda-emulated";
#endif

Kernels filled() {
  Kernels k;
  k.name = kName;
  k.lanes = 1;  // a lane is a thread
  add_activation(k);
  add_channels(k);
  add_conv(k);
  add_device(k);
  add_gemm(k);
  add_linear_exact(k);
  add_loss(k);
  add_maxout(k);
  add_one_vs_one(k);
  add_optim(k);
  add_pool(k);
  add_project(k);
  add_random(k);
  add_rbf(k);
  add_reduce(k);
  add_rows(k);
  add_step(k);
  add_vectors(k);
  return k;
}

}  // namespace

const Kernels& table() {
  static const Kernels kernels = filled();
  return kernels;
}

}  // namespace epsball::cuda
