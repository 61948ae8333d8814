// What each kernel file adds to the GPU's table; mirrors cpp/table.h.
#pragma once

#include "kernels.h"

namespace epsball::cuda {

void add_activation(Kernels&);
void add_channels(Kernels&);
void add_conv(Kernels&);
void add_gemm(Kernels&);
void add_pool(Kernels&);
void add_rbf(Kernels&);
void add_reduce(Kernels&);

const Kernels& table();

}  // namespace epsball::cuda
