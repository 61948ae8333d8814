// Kernels with one bug each, and the same kernels without it: `planted NAME` runs one of them. test_emulator.cpp starts
// this program, built plain and with either sanitizer, and expects to be told.
#include "launch.cuh"

#include <cstdio>
#include <string>
#include <vector>

namespace epsball::cuda {
namespace {

constexpr int kThreads = 64;

// ---- races: barriers that are left out where `Correct` is false ----

template <bool Correct>
__global__ void load_race(float* out) {
  SHARED_ARRAY(float, tile, [kThreads]);
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  if constexpr (Correct) barrier();
  out[threadIdx.x] = tile[kThreads - 1 - threadIdx.x];
}

template <bool Correct>
__global__ void write_after_read_race(float* out) {
  SHARED_ARRAY(float, tile, [kThreads]);
  float sum = 0.0f;
  for (int step = 0; step < 3; ++step) {
    tile[threadIdx.x] = static_cast<float>(step);
    barrier();
    sum += tile[(threadIdx.x + 1) % kThreads];
    if constexpr (Correct) barrier();
  }
  out[threadIdx.x] = sum;
}

template <bool Correct>
__global__ void reduction_race(float* out) {
  SHARED_ARRAY(float, part, [kThreads]);
  part[threadIdx.x] = 1.0f;
  barrier();
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    if (Correct || half > 16) barrier();
  }
  if (threadIdx.x == 0) out[0] = part[0];
}

template <bool Correct>
__global__ void warp_race(float* out) {
  SHARED_ARRAY(float, tile, [kThreads]);
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  const int ordered = shuffle_down(1, 1);  // lanes meet, but their memory is not ordered
  if constexpr (Correct) warp_barrier();
  out[threadIdx.x] = tile[threadIdx.x ^ 1] + static_cast<float>(ordered);
}

template <bool Correct>
__global__ void block_race(float* out) {
  out[Correct ? blockIdx.x * kThreads + threadIdx.x : (threadIdx.x + blockIdx.x) % kThreads] = 1.0f;
}

// ---- memory: one element too far where `Correct` is false ----

template <bool Correct>
__global__ void shared_overrun(float* out) {
  SHARED_ARRAY(float, tile, [kThreads - 3]);
  if (threadIdx.x < kThreads - 3 + (Correct ? 0 : 1)) tile[threadIdx.x] = 1.0f;
  barrier();
  out[threadIdx.x] = tile[0];
}

template <bool Correct>
__global__ void dynamic_shared_overrun(float* out) {
  DYN_SHARED(float, tile);
  tile[threadIdx.x + (Correct ? 0 : 1)] = 1.0f;
  barrier();
  out[threadIdx.x] = tile[0];
}

template <bool Correct>
__global__ void global_overrun(float* out) {
  if (threadIdx.x == 0) out[2 * kThreads - 1 + (Correct ? 0 : 1)] = 1.0f;
}

template <bool Correct>
__global__ void global_read_overrun(float* out) {
  if (threadIdx.x == 0) out[0] = out[2 * kThreads - 1 + (Correct ? 0 : 1)];
}

// ---- threads that do not meet ----

template <bool Correct>
__global__ void divergent_barrier(float* out) {
  if (Correct || threadIdx.x < 10) barrier();
  out[threadIdx.x] = 1.0f;
}

template <bool Correct>
__global__ void two_barriers(float* out) {
  if (!Correct && threadIdx.x < 10)
    barrier();
  else
    barrier();
  out[threadIdx.x] = 1.0f;
}

template <bool Correct>
__global__ void early_exit(float* out) {
  if (!Correct && threadIdx.x == 63) return;
  barrier();
  out[threadIdx.x] = 1.0f;
}

template <bool Correct>
__global__ void divergent_shuffle(float* out) {
  float sum = 1.0f;
  if (Correct || threadIdx.x % 2 == 0) sum = warp_sum(sum);
  out[threadIdx.x] = sum;
}

template <bool Correct>
__global__ void half_warp(float* out) {
  out[threadIdx.x] = warp_sum(1.0f);  // the wrong launch is of 48 threads
}

// ---- the host ----

template <bool Correct>
void host_read(float* out) {
  float value = 0.0f;
  if (Correct)
    memcpy_async(&value, out, sizeof value, nullptr);
  else
    value = *const_cast<volatile float*>(out);
  std::printf("the host read %g\n", static_cast<double>(value));
}

using Kernel = void (*)(float*);

struct Plant {
  const char* name;
  Kernel wrong, right;
  std::size_t shared_bytes = 0;
  unsigned blocks = 1;
  unsigned wrong_threads = kThreads;
};

#define PLANT(kernel) {#kernel, kernel<false>, kernel<true>}
const Plant kPlants[] = {
    PLANT(load_race),
    PLANT(write_after_read_race),
    PLANT(reduction_race),
    PLANT(warp_race),
    {"block_race", block_race<false>, block_race<true>, 0, 2},
    PLANT(shared_overrun),
    {"dynamic_shared_overrun", dynamic_shared_overrun<false>, dynamic_shared_overrun<true>, kThreads * sizeof(float)},
    PLANT(global_overrun),
    PLANT(global_read_overrun),
    PLANT(divergent_barrier),
    PLANT(two_barriers),
    PLANT(early_exit),
    PLANT(divergent_shuffle),
    {"half_warp", half_warp<false>, half_warp<true>, 0, 1, kThreads / 4 * 3},
};

int run(const std::string& name, bool correct) {
  auto* out = static_cast<float*>(malloc_async(2 * kThreads * sizeof(float), nullptr));
  memset_async(out, 0, 2 * kThreads * sizeof(float), nullptr);
  bool found = name == "host_read";
  if (found) (correct ? host_read<true> : host_read<false>)(out);
  for (const Plant& p : kPlants)
    if (name == p.name) {
      found = true;
      launch(correct ? p.right : p.wrong, p.blocks, correct ? kThreads : p.wrong_threads, p.shared_bytes, nullptr, out);
    }
  free_async(out, nullptr);
  if (!found) std::printf("no plant is called %s\n", name.c_str());
  return found ? 0 : 2;
}

}  // namespace
}  // namespace epsball::cuda

// planted NAME [correct]
int main(int argc, char** argv) {
  try {
    return argc < 2 ? 2 : epsball::cuda::run(argv[1], argc > 2);
  } catch (const epsball::cuda::CudaError& error) {
    std::printf("CudaError: %s\n", error.what());
    return 3;
  }
}
