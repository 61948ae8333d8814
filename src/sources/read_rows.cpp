// The caller's rows as doubles, which hold every value of every dtype.
#include "sources/read_rows.h"

#include "half.h"

namespace epsball {

void read_rows(const Array& x, Index first, Index rows, double* to) {
  const Index from = first * x.features, count = rows * x.features;
  if (x.dtype == DType::float32)
    for (Index i = 0; i < count; ++i) to[i] = static_cast<double>(static_cast<const float*>(x.data)[from + i]);
  if (x.dtype == DType::float64)
    for (Index i = 0; i < count; ++i) to[i] = static_cast<const double*>(x.data)[from + i];
  if (x.dtype == DType::float16)
    for (Index i = 0; i < count; ++i)
      to[i] = static_cast<double>(generic::half_to_float(static_cast<const std::uint16_t*>(x.data)[from + i]));
}

}  // namespace epsball
