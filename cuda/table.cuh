// What each kernel file adds to the GPU's table; mirrors cpp/table.h.
#pragma once

#include <string>

#include "kernels.h"

namespace epsball::cuda {

void add_activation(Kernels&);
void add_channels(Kernels&);
void add_conv(Kernels&);
void add_device(Kernels&);
void add_gemm(Kernels&);
void add_linear_exact(Kernels&);
void add_loss(Kernels&);
void add_maxout(Kernels&);
void add_one_vs_one(Kernels&);
void add_optim(Kernels&);
void add_pool(Kernels&);
void add_project(Kernels&);
void add_random(Kernels&);
void add_rbf(Kernels&);
void add_reduce(Kernels&);
void add_rows(Kernels&);
void add_step(Kernels&);
void add_vectors(Kernels&);

const Kernels& table();

// Why no device can be used, in words; empty if one can.
std::string device_problem();

}  // namespace epsball::cuda
