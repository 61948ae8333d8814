// What cuda/caller.cu adds to the device's description (Device of kernels.h).
#pragma once

#include "kernels.h"

namespace epsball::cuda {

void check_rows(Stream, const Array& x, const double* lo, const double* hi, std::int32_t* broken);
void read_labels(Stream, const Integers& from, Index limit, std::int32_t* labels, std::int32_t* broken);
void write_labels(Stream, Index count, const std::int32_t* labels, std::int64_t* to);
void write_rows(Stream, const float* values, const Array& to, std::int32_t* broken);

}  // namespace epsball::cuda
