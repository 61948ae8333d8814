// This instruction set's table, filled once.
#include "table.h"

#define EPSBALL_STRING_(s) #s
#define EPSBALL_STRING(s) EPSBALL_STRING_(s)

namespace epsball::EPSBALL_ISA {
namespace {

Kernels filled() {
  Kernels k;
  k.name = EPSBALL_STRING(EPSBALL_ISA);
  k.lanes = kLanes;
  add_gemm(k);
  add_linear_step(k);
  add_images(k);
  add_conv(k);
  add_pool(k);
  add_channels(k);
  add_rbf(k);
  add_maxout(k);
  add_one_vs_one(k);
  add_activation(k);
  add_loss(k);
  add_step(k);
  add_project(k);
  add_random(k);
  add_reduce(k);
  add_regions(k);
  add_rows(k);
  add_linear_exact(k);
  add_decide(k);
  add_flip(k);
  add_hyperplane(k);
  add_lbfgs(k);
  add_saliency(k);
  add_search(k);
  add_optim(k);
  add_roofline(k);
  add_square(k);
  add_vectors(k);
  return k;
}

}  // namespace

const Kernels& table() {
  static const Kernels kernels = filled();
  return kernels;
}

}  // namespace epsball::EPSBALL_ISA
