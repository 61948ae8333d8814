// What each kernel file adds to the GPU's table; mirrors cpp/table.h.
#pragma once

#include <cstdint>
#include <string>

#include "kernels.h"

namespace epsball::cuda {

// What the factors of products (gemm, and conv to more than 16 channels) are rounded to; the rest is float32.
enum class Precision { float32, tf32, bf16 };

void add_activation(Kernels&);
void add_channels(Kernels&);
void add_conv(Kernels&, Precision);
void add_decide(Kernels&);
void add_device(Kernels&);
void add_flip(Kernels&);
void add_gemm(Kernels&, Precision);
void add_hyperplane(Kernels&);
void add_images(Kernels&);
void add_lbfgs(Kernels&);
void add_linear_exact(Kernels&);
void add_loss(Kernels&);
void add_maxout(Kernels&);
void add_one_vs_one(Kernels&);
void add_optim(Kernels&);
void add_pgd(Kernels&);
void add_pool(Kernels&);
void add_project(Kernels&);
void add_random(Kernels&);
void add_rbf(Kernels&);
void add_reduce(Kernels&);
void add_rows(Kernels&);
void add_saliency(Kernels&);
void add_search(Kernels&);
void add_square(Kernels&);
void add_step(Kernels&);
void add_vectors(Kernels&);

const Kernels& table(Precision = Precision::float32);

// Copies from the device once `stream`, a cudaStream_t as the CUDA array interface has it (0: none), is done.
void copy_to_host(void* to, const void* from, Index bytes, std::uintptr_t stream);

// The device whose memory this is; -1: none's.
int device_of(const void* data);

// Why no device can be used, in words; empty if one can.
std::string device_problem();

}  // namespace epsball::cuda
