// Sums over rows; mirrors cpp/reduce.cpp. Every sum is kSlices chains over the rows in turn, added up in order.
#include "launch.cuh"

#include "slices.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

constexpr int kFiniteThreads = 256;
constexpr Index kMostBlocks = 1024;

// ---- kernels ----

// x - x is 0, and only for infinities and NaN it is not.
__global__ void finite_kernel(Index count, const float* x, std::int32_t* found) {
  float sum = 0.0f;
  for (Index i = Index{blockIdx.x} * kFiniteThreads + threadIdx.x; i < count; i += Index{gridDim.x} * kFiniteThreads)
    sum = sum + (x[i] - x[i]);
  if (any(sum != 0.0f) && threadIdx.x % kWarpSize == 0) atomic_or(found, 1);
}

__global__ void inside_kernel(Index count, Index n, const float* x, const float* lo, const float* hi,
                              std::int32_t* found) {
  bool outside = false;
  for (Index i = Index{blockIdx.x} * kFiniteThreads + threadIdx.x; i < count; i += Index{gridDim.x} * kFiniteThreads)
    outside |= !(x[i] >= lo[i % n] && x[i] <= hi[i % n]);
  if (any(outside) && threadIdx.x % kWarpSize == 0) atomic_or(found, 1);
}

__global__ void column_sums_kernel(Index rows, Index n, const float* x, Index ldx, float* sums,
                                   const std::int32_t* active) {
  const Index j = Index{blockIdx.x} * kWarpSize + threadIdx.x;
  float sum = 0.0f;
  if (j < n) for_slice(rows_now(rows, active), [&](Index r) { sum = sum + x[r * ldx + j]; });
  sum = sum_slices(sum);
  if (threadIdx.y == 0 && j < n) sums[j] = sum;
}

// Calls f(row, offset of the value in its row) for this thread's slice of a channel's values.
template <class F>
__device__ __forceinline__ void for_values(const Channels& c, Index rows, Index channel, F f) {
  if (channel >= c.channels) return;
  for_slice(rows * c.pixels, [&](Index i) { f(i / c.pixels, i % c.pixels * c.channels + channel); });
}

__global__ void channel_sums_kernel(Channels c, float* sums, const std::int32_t* active) {
  const Index j = Index{blockIdx.x} * kWarpSize + threadIdx.x;
  float sum = 0.0f;
  for_values(c, rows_now(c.rows, active), j, [&](Index r, Index at) { sum = sum + c.x[r * c.ldx + at]; });
  sum = sum_slices(sum);
  if (threadIdx.y == 0 && j < c.channels) sums[j] = sum;
}

__global__ void channel_moments_kernel(Channels c, float* mean, float* variance, const std::int32_t* active) {
  const Index j = Index{blockIdx.x} * kWarpSize + threadIdx.x, rows = rows_now(c.rows, active);
  const double count = static_cast<double>(rows * c.pixels);
  double sum = 0.0, squares = 0.0;
  for_values(c, rows, j, [&](Index r, Index at) { sum = sum + static_cast<double>(c.x[r * c.ldx + at]); });
  const double center = sum_slices(sum) / count;
  for_values(c, rows, j, [&](Index r, Index at) {
    const double d = static_cast<double>(c.x[r * c.ldx + at]) - center;
    squares = squares + d * d;
  });
  squares = sum_slices(squares);
  if (threadIdx.y != 0 || j >= c.channels) return;
  mean[j] = static_cast<float>(center);
  variance[j] = static_cast<float>(squares / count);
}

__global__ void channel_products_kernel(Channels c, const float* center, const float* dy, Index lddy, float* sums,
                                        float* products, const std::int32_t* active) {
  const Index j = Index{blockIdx.x} * kWarpSize + threadIdx.x;
  const double mean = j < c.channels ? static_cast<double>(center[j]) : 0.0;
  double sum = 0.0, product = 0.0;
  for_values(c, rows_now(c.rows, active), j, [&](Index r, Index at) {
    const double d = static_cast<double>(dy[r * lddy + at]);
    sum = sum + d;
    product = product + d * (static_cast<double>(c.x[r * c.ldx + at]) - mean);
  });
  sum = sum_slices(sum);
  product = sum_slices(product);
  if (threadIdx.y != 0 || j >= c.channels) return;
  sums[j] = static_cast<float>(sum);
  products[j] = static_cast<float>(product);
}

// ---- what the table calls ----

// A number on the device, 0 at first.
class DeviceNumber {
 public:
  explicit DeviceNumber(cudaStream_t stream)
      : stream_(stream), at_(static_cast<std::int32_t*>(malloc_async(sizeof(std::int32_t), stream))) {
    memset_async(at_, 0, sizeof(std::int32_t), stream);
  }
  ~DeviceNumber() { static_cast<void>(cudaFreeAsync(at_, stream_)); }
  DeviceNumber(const DeviceNumber&) = delete;
  DeviceNumber& operator=(const DeviceNumber&) = delete;

  std::int32_t* data() { return at_; }
  // Waits for the stream.
  std::int32_t value() const {
    std::int32_t value = 0;
    memcpy_async(&value, at_, sizeof value, stream_, cudaMemcpyDeviceToHost);
    synchronize(stream_);
    return value;
  }

 private:
  cudaStream_t stream_;
  std::int32_t* at_;
};

dim3 finite_grid(Index count) {
  const Index blocks = ceil_div<Index>(count, kFiniteThreads);
  return dim3(static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks));
}

// The only kernels here whose result the host waits for: once per call, not per step.
bool all_finite(Stream stream, Index count, const float* x) {
  const DeviceStream s = device_stream(stream);
  DeviceNumber found(s.stream);
  launch(finite_kernel, finite_grid(count), dim3(kFiniteThreads), 0, s, count, x, found.data());
  return found.value() == 0;
}

bool all_inside(Stream stream, Index rows, Index n, const float* x, const float* lo, const float* hi) {
  const DeviceStream s = device_stream(stream);
  DeviceNumber found(s.stream);
  launch(inside_kernel, finite_grid(rows * n), dim3(kFiniteThreads), 0, s, rows * n, n, x, lo, hi, found.data());
  return found.value() == 0;
}

dim3 columns_grid(Index n) { return dim3(static_cast<unsigned>(ceil_div<Index>(n, kWarpSize))); }

void column_sums(Stream stream, Index rows, Index n, const float* x, Index ldx, float* sums) {
  const DeviceStream s = device_stream(stream);
  launch(column_sums_kernel, columns_grid(n), slices_block(), 0, s, rows, n, x, ldx, sums, s.active);
}

void channel_sums(Stream stream, const Channels& c, float* sums) {
  const DeviceStream s = device_stream(stream);
  launch(channel_sums_kernel, columns_grid(c.channels), slices_block(), 0, s, c, sums, s.active);
}

void channel_moments(Stream stream, const Channels& c, float* mean, float* variance) {
  const DeviceStream s = device_stream(stream);
  launch(channel_moments_kernel, columns_grid(c.channels), slices_block(), 0, s, c, mean, variance, s.active);
}

void channel_products(Stream stream, const Channels& c, const float* center, const float* dy, Index lddy, float* sums,
                      float* products) {
  const DeviceStream s = device_stream(stream);
  launch(channel_products_kernel, columns_grid(c.channels), slices_block(), 0, s, c, center, dy, lddy, sums, products,
         s.active);
}

}  // namespace

void add_reduce(Kernels& k) {
  k.all_finite = all_finite;
  k.all_inside = all_inside;
  k.column_sums = column_sums;
  k.channel_sums = channel_sums;
  k.channel_moments = channel_moments;
  k.channel_products = channel_products;
}

}  // namespace epsball::cuda
