// A caller's arrays that lie on the device: their values checked where they are, labels in and out.
#include "launch.cuh"

#include "caller.cuh"
#include "element.h"
#include "elements.cuh"
#include "flat.cuh"

namespace epsball::cuda {
namespace {

constexpr double kMostFloat = 3.4028234663852886e38;

// ---- kernels ----

// NaN fails every comparison.
template <class D>
__global__ void check_kernel(Array x, const double* lo, const double* hi, std::int32_t* broken) {
  const auto* data = static_cast<const typename D::Element*>(x.data);
  for_elements(x.rows, x.features, [&](Index r, Index i) {
    const double v = D::value(data[r * x.features + i]);
    const bool finite = v >= -kMostFloat && v <= kMostFloat;
    if (!finite || (lo && !(v >= lo[i] && v <= hi[i]))) atomic_or(broken, 1);
  });
}

__device__ __forceinline__ std::int64_t integer_at(const Integers& from, Index i) {
  switch (from.bytes) {
    case 1:
      return from.is_signed ? static_cast<const std::int8_t*>(from.data)[i]
                            : static_cast<const std::uint8_t*>(from.data)[i];
    case 2:
      return from.is_signed ? static_cast<const std::int16_t*>(from.data)[i]
                            : static_cast<const std::uint16_t*>(from.data)[i];
    case 4:
      return from.is_signed ? static_cast<const std::int32_t*>(from.data)[i]
                            : static_cast<std::int64_t>(static_cast<const std::uint32_t*>(from.data)[i]);
    default:  // unsigned ones that are too large for it become negative, and no label either way
      return static_cast<const std::int64_t*>(from.data)[i];
  }
}

__global__ void read_labels_kernel(Integers from, Index limit, std::int32_t* labels, std::int32_t* broken) {
  for_flat(from.count, [&](Index i) {
    const std::int64_t label = integer_at(from, i);
    const bool known = label >= 0 && label < limit;
    labels[i] = known ? static_cast<std::int32_t>(label) : 0;
    if (!known) atomic_or(broken, 1);
  });
}

__global__ void write_labels_kernel(Index count, const std::int32_t* labels, std::int64_t* to) {
  for_flat(count, [&](Index i) { to[i] = labels[i]; });
}

__device__ __forceinline__ void write(double* to, float value, std::int32_t*) { *to = value; }
__device__ __forceinline__ void write(float* to, float value, std::int32_t*) { *to = value; }
__device__ __forceinline__ void write(std::uint16_t* to, float value, std::int32_t* broken) {
  *to = float_to_half(value);
  if (!(abs(value) < 65520.0f)) atomic_or(broken, 1);
}

template <class D>
__global__ void write_rows_kernel(Index count, const float* values, typename D::Element* to, std::int32_t* broken) {
  for_flat(count, [&](Index i) { write(to + i, values[i], broken); });
}

template <class D>
void write_rows_as(const DeviceStream& s, const float* values, const Array& to, std::int32_t* broken) {
  const Index count = to.rows * to.features;
  launch(write_rows_kernel<D>, flat_grid(count), kFlatThreads, 0, s, count, values,
         static_cast<typename D::Element*>(to.data), broken);
}

}  // namespace

// ---- what the device's description calls ----

void check_rows(Stream stream, const Array& x, const double* lo, const double* hi, std::int32_t* broken) {
  const auto kernel = x.dtype == DType::float32   ? check_kernel<Single>
                      : x.dtype == DType::float64 ? check_kernel<Double>
                                                  : check_kernel<Half>;
  launch(kernel, elements_grid(x.rows, x.features), elements_block(), 0, device_stream(stream), x, lo, hi, broken);
}

void read_labels(Stream stream, const Integers& from, Index limit, std::int32_t* labels, std::int32_t* broken) {
  launch(read_labels_kernel, flat_grid(from.count), kFlatThreads, 0, device_stream(stream), from, limit, labels,
         broken);
}

void write_labels(Stream stream, Index count, const std::int32_t* labels, std::int64_t* to) {
  launch(write_labels_kernel, flat_grid(count), kFlatThreads, 0, device_stream(stream), count, labels, to);
}

void write_rows(Stream stream, const float* values, const Array& to, std::int32_t* broken) {
  const auto write_as = to.dtype == DType::float32   ? write_rows_as<Single>
                        : to.dtype == DType::float64 ? write_rows_as<Double>
                                                     : write_rows_as<Half>;
  write_as(device_stream(stream), values, to, broken);
}

}  // namespace epsball::cuda
