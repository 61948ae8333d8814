// The GPU's tables, filled once, one for each precision: "cuda", "cuda-tf32" and "cuda-bf16", or "cuda-emulated" and so
// on where g++ compiled them; mirrors cpp/table.cpp.
#include "launch.cuh"

#include "table.cuh"

namespace epsball::cuda {
namespace {

#ifdef __CUDACC__
#define EPSBALL_CUDA_NAME "cuda"
#else
#define EPSBALL_CUDA_NAME "cuda-emulated"
#endif

Kernels filled(const char* name, Precision precision) {
  Kernels k;
  k.name = name;
  k.lanes = 1;  // a lane is a thread
  add_activation(k);
  add_channels(k);
  add_conv(k, precision);
  add_decide(k);
  add_device(k);
  add_flip(k);
  add_gemm(k, precision);
  add_hyperplane(k);
  add_images(k);
  add_lbfgs(k);
  add_linear_exact(k);
  add_loss(k);
  add_maxout(k);
  add_one_vs_one(k);
  add_optim(k);
  if (precision == Precision::float32) add_pgd(k);  // its products are
  add_pool(k);
  add_project(k);
  add_random(k);
  add_rbf(k);
  add_reduce(k);
  add_rows(k);
  add_saliency(k);
  add_search(k);
  add_square(k);
  add_step(k);
  add_vectors(k);
  return k;
}

}  // namespace

const Kernels& table(Precision precision) {
  static const Kernels tables[] = {filled(EPSBALL_CUDA_NAME, Precision::float32),
                                   filled(EPSBALL_CUDA_NAME "-tf32", Precision::tf32),
                                   filled(EPSBALL_CUDA_NAME "-bf16", Precision::bf16)};
  return tables[static_cast<int>(precision)];
}

}  // namespace epsball::cuda
