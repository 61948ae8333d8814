// What each kernel file adds to this instruction set's table.
#pragma once

#include "formulas.h"
#include "kernels.h"

namespace epsball::EPSBALL_ISA {

void add_gemm(Kernels&);
void add_linear_step(Kernels&);
void add_images(Kernels&);
void add_conv(Kernels&);
void add_pool(Kernels&);
void add_channels(Kernels&);
void add_rbf(Kernels&);
void add_maxout(Kernels&);
void add_one_vs_one(Kernels&);
void add_activation(Kernels&);
void add_loss(Kernels&);
void add_step(Kernels&);
void add_project(Kernels&);
void add_random(Kernels&);
void add_reduce(Kernels&);
void add_regions(Kernels&);
void add_rows(Kernels&);
void add_linear_exact(Kernels&);
void add_decide(Kernels&);
void add_flip(Kernels&);
void add_hyperplane(Kernels&);
void add_lbfgs(Kernels&);
void add_saliency(Kernels&);
void add_search(Kernels&);
void add_optim(Kernels&);
void add_roofline(Kernels&);
void add_square(Kernels&);
void add_vectors(Kernels&);

const Kernels& table();

}  // namespace epsball::EPSBALL_ISA
