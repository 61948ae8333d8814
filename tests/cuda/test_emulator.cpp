// The emulator itself: how threads meet, reductions, fragments, memory, streams and graphs; and that every planted bug
// is found, and nothing else.
#include "launch.cuh"

#include <sys/wait.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "check.h"
#include "device_array.h"
#include "guarded.h"

using namespace epsball;
using namespace epsball::test;

namespace epsball::cuda {
namespace {

// ---- how threads meet ----

__global__ void indices_kernel(std::int32_t* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  out[block * threads_of_block() + thread_number()] =
      static_cast<std::int32_t>(threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z + 1000 * blockIdx.x +
                                10000 * blockIdx.y + 100000 * blockIdx.z);
}

void test_every_thread_runs_once() {
  DeviceArray<std::int32_t> out(2 * 3 * 4 * 5 * 2 * 3);
  launch(indices_kernel, dim3(2, 3, 4), dim3(5, 2, 3), 0, nullptr, out.data());
  const auto values = out.host();
  std::size_t i = 0;
  bool ok = true;
  for (int bz = 0; bz < 4; ++bz)
    for (int by = 0; by < 3; ++by)
      for (int bx = 0; bx < 2; ++bx)
        for (int z = 0; z < 3; ++z)
          for (int y = 0; y < 2; ++y)
            for (int x = 0; x < 5; ++x)
              ok &= values[i++] == x + 10 * y + 100 * z + 1000 * bx + 10000 * by + 100000 * bz;
  CHECK(ok);
}

__global__ void shuffles_kernel(float* out) {
  const unsigned lane = threadIdx.x % kWarpSize;
  const float mine = static_cast<float>(threadIdx.x);
  float* to = out + threadIdx.x * 4;
  to[0] = shuffle_down(mine, 5);
  to[1] = shuffle_xor(mine, 9);
  to[2] = shuffle(mine, 31 - lane);
  to[3] = static_cast<float>(shuffle(std::int64_t{1} << lane, 20));  // eight bytes
}

void test_shuffles() {
  DeviceArray<float> out(64 * 4);
  launch(shuffles_kernel, 1, 64, 0, nullptr, out.data());
  const auto values = out.host();
  bool ok = true;
  for (int t = 0; t < 64; ++t) {
    const int warp = t / 32 * 32, lane = t % 32;
    const float* v = values.data() + t * 4;
    ok &= v[0] == static_cast<float>(lane + 5 < 32 ? t + 5 : t);
    ok &= v[1] == static_cast<float>(warp + (lane ^ 9));
    ok &= v[2] == static_cast<float>(warp + 31 - lane);
    ok &= v[3] == 1048576.0f;
  }
  CHECK(ok);
}

__global__ void ballots_kernel(std::uint32_t* out) {
  const unsigned t = threadIdx.x;
  out[t * 3] = ballot(t % 3 == 0);
  out[t * 3 + 1] = any(t == 40);
  out[t * 3 + 2] = any(false);
}

void test_ballots() {
  DeviceArray<std::uint32_t> out(64 * 3);
  launch(ballots_kernel, 1, 64, 0, nullptr, out.data());
  const auto values = out.host();
  std::uint32_t thirds[2] = {};
  for (int t = 0; t < 64; ++t) thirds[t / 32] |= (t % 3 == 0 ? 1u : 0u) << (t % 32);
  bool ok = true;
  for (int t = 0; t < 64; ++t)
    ok &= values[t * 3] == thirds[t / 32] && values[t * 3 + 1] == (t >= 32) && values[t * 3 + 2] == 0;
  CHECK(ok);
}

__global__ void reductions_kernel(const float* x, float* out) {
  const unsigned t = thread_number();
  float* to = out + t * 4;
  to[0] = warp_sum(x[t]);
  to[1] = warp_max(x[t]);
  to[2] = block_sum(x[t]);
  to[3] = block_max(x[t]);
}

void test_reductions(dim3 block) {
  const int count = static_cast<int>(block.x * block.y);
  const auto x = uniform_floats(count, 3, -1.0f, 1.0f);
  DeviceArray<float> in(x), out(count * 4);
  launch(reductions_kernel, 1, block, 0, nullptr, in.data(), out.data());
  const auto values = out.host();
  float most = -1.0f, warp_most = -1.0f;
  double sum = 0.0, warp_sum = 0.0;
  for (int t = 0; t < count; ++t) {
    sum += x[t];
    most = std::fmax(most, x[t]);
    if (t < 32) warp_sum += x[t], warp_most = std::fmax(warp_most, x[t]);
  }
  CHECK_NEAR(values[0], warp_sum, 32 * 5 * 0x1p-24);
  CHECK(values[1] == warp_most);
  CHECK_NEAR(values[2], sum, count * 37 * 0x1p-24);
  CHECK(values[3] == most);
  bool same = true;
  for (int t = 0; t < count; ++t) {
    same &= same_bits(&values[t * 4 + 2], &values[2], 2);
    same &= same_bits(&values[t * 4], &values[t / 32 * 32 * 4], 2);
  }
  CHECK(same);
}

void test_reductions_show_a_nan() {
  std::vector<float> x(64, 1.0f);
  x[17] = NAN;
  DeviceArray<float> in(x), out(64 * 4);
  launch(reductions_kernel, 1, 64, 0, nullptr, in.data(), out.data());
  const auto values = out.host();
  CHECK(std::isnan(values[0]) && std::isnan(values[1]) && std::isnan(values[2]) && std::isnan(values[3]));
  CHECK(values[40 * 4 + 1] == 1.0f);  // the other warp
}

__global__ void atomics_kernel(std::int32_t* out) {
  atomic_add(out, 2);
  atomic_or(out + 1, 1 << threadIdx.x % 8);
  atomic_max(out + 2, static_cast<std::int32_t>(threadIdx.x * 7 % 96));
}

void test_atomics() {
  DeviceArray<std::int32_t> out(std::vector<std::int32_t>(3, 0));
  launch(atomics_kernel, 3, 96, 0, nullptr, out.data());
  CHECK(out.host() == std::vector<std::int32_t>{2 * 3 * 96, 0xff, 95});
}

// Blocks see fresh shared memory: what the one before wrote there is gone.
__global__ void poison_kernel(float* out) {
  SHARED_ARRAY(float, tile, [7][32]);
  DYN_SHARED(float, dynamic);
  const unsigned t = threadIdx.x;
  out[blockIdx.x * 64 + t] = tile[6][t];
  out[blockIdx.x * 64 + 32 + t] = dynamic[t];
  barrier();
  tile[6][t] = dynamic[t] = 1.0f;
}

void test_shared_memory_is_poisoned() {
  DeviceArray<float> out(2 * 64);
  launch(poison_kernel, 2, 32, 32 * sizeof(float), nullptr, out.data());
  bool poisoned = true;
  for (const float v : out.host()) poisoned &= std::isnan(v);
  CHECK(poisoned);
}

// ---- fragments against a plain product ----

template <class T, class In, int K, class LayoutA, class LayoutB>
__global__ void product_kernel(const In* a, const In* b, const float* c, float* d) {
  wmma::fragment<wmma::matrix_a, 16, 16, K, T, LayoutA> fa;
  wmma::fragment<wmma::matrix_b, 16, 16, K, T, LayoutB> fb;
  wmma::fragment<wmma::accumulator, 16, 16, K, float> fc, zero;
  wmma::load_matrix_sync(fa, a, std::is_same_v<LayoutA, wmma::row_major> ? K : 16);
  wmma::load_matrix_sync(fb, b, std::is_same_v<LayoutB, wmma::row_major> ? 16 : K);
  wmma::load_matrix_sync(fc, c, 16, wmma::mem_row_major);
  wmma::fill_fragment(zero, 0.0f);
  wmma::mma_sync(zero, fa, fb, zero);
  for (int e = 0; e < fc.num_elements; ++e) fc.x[e] += zero.x[e];
  wmma::store_matrix_sync(d, fc, 16, wmma::mem_row_major);
}

float to_float(float x) { return x; }

template <class T, class In, int K, class LayoutA, class LayoutB, class Convert>
void test_product(Convert convert) {
  const auto a = uniform_floats(16 * K, 1, -1.0f, 1.0f), b = uniform_floats(16 * K, 2, -1.0f, 1.0f),
             c = uniform_floats(256, 3, -1.0f, 1.0f);
  std::vector<In> ha(a.size()), hb(b.size());
  std::vector<float> fa(a.size()), fb(b.size());  // as the tensor core has them
  for (std::size_t i = 0; i < a.size(); ++i) {
    ha[i] = convert(a[i]), hb[i] = convert(b[i]);
    fa[i] = to_float(ha[i]), fb[i] = to_float(hb[i]);
    CHECK(std::fabs(fa[i] - a[i]) <= 0x1p-8 * std::fabs(a[i]));
  }
  DeviceArray<In> da(ha), db(hb);
  DeviceArray<float> dc(c), dd(256);
  launch(product_kernel<T, In, K, LayoutA, LayoutB>, 1, 32, 0, nullptr, da.data(), db.data(), dc.data(), dd.data());
  const auto d = dd.host();
  bool near = true;
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) {
      double sum = c[i * 16 + j], size = std::fabs(sum);
      for (int k = 0; k < K; ++k) {
        const double term = static_cast<double>(fa[std::is_same_v<LayoutA, wmma::row_major> ? i * K + k : k * 16 + i]) *
                            fb[std::is_same_v<LayoutB, wmma::row_major> ? k * 16 + j : j * K + k];
        sum += term, size += std::fabs(term);
      }
      near &= std::fabs(d[i * 16 + j] - sum) <= 1.01 * 0x1p-24 * (K + 1) * size;
    }
  CHECK(near);
}

void test_fragments() {
  using Row = wmma::row_major;
  using Column = wmma::col_major;
  test_product<wmma::precision::tf32, float, 8, Row, Row>(to_tf32);
  test_product<wmma::precision::tf32, float, 8, Column, Row>(to_tf32);
  test_product<wmma::precision::tf32, float, 8, Row, Column>(to_tf32);
  test_product<bf16, bf16, 16, Row, Row>(to_bf16);
  test_product<bf16, bf16, 16, Column, Column>(to_bf16);
}

__global__ void misaligned_fragment_kernel(const float* a) {
  wmma::fragment<wmma::matrix_a, 16, 16, 8, wmma::precision::tf32, wmma::row_major> f;
  wmma::load_matrix_sync(f, a + 1, 8);
}

void test_a_misaligned_tile_is_reported() {
  DeviceArray<float> a(std::vector<float>(256, 1.0f));
  CHECK_THROWS(launch(misaligned_fragment_kernel, 1, 32, 0, nullptr, a.data()), emulate::EmulationError);
}

// ---- launches ----

__global__ void nothing_kernel() {}
__global__ void fill_kernel(float* out, Index count, float value) {
  for (Index i = threadIdx.x; i < count; i += blockDim.x) out[i] = value;
}
__global__ void rows_kernel(const std::int32_t* active, Index* out) { *out = rows_now(10, active); }

void test_launches_are_checked() {
  CHECK_THROWS(launch(nothing_kernel, 1, 1025, 0, nullptr), CudaError);
  CHECK_THROWS(launch(nothing_kernel, dim3(1, 65536), 1, 0, nullptr), CudaError);
  CHECK_THROWS(launch(nothing_kernel, 1, dim3(1, 1, 65), 0, nullptr), CudaError);
  CHECK_THROWS(launch(nothing_kernel, 1, 1, 200 * 1024, nullptr), CudaError);
  launch(nothing_kernel, dim3(0, 3), 32, 0, nullptr);  // an empty grid is nothing to do
  try {
    launch(nothing_kernel, 1, 1025, 0, nullptr);
    CHECK(false);
  } catch (const CudaError& error) {
    CHECK(std::string(error.what()).find("test_emulator.cpp:") != std::string::npos);
  }
}

void test_a_launch_after_a_failed_one_works() {
  DeviceArray<float> out(64);
  CHECK_THROWS(launch(misaligned_fragment_kernel, 1, 32, 0, nullptr, out.data()), emulate::EmulationError);
  test_reductions(dim3(64));
}

void test_active_rows() {
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{4});
  DeviceArray<Index> out(1);
  launch(rows_kernel, 1, 1, 0, nullptr, active.data(), out.data());
  CHECK(out.host()[0] == 4);
  launch(rows_kernel, 1, 1, 0, nullptr, nullptr, out.data());
  CHECK(out.host()[0] == 10);
}

// ---- memory ----

void test_device_memory_is_counted_and_poisoned() {
  const auto before = emulate::device_memory();
  {
    DeviceArray<float> a(7), b(100);
    CHECK(emulate::device_memory().blocks == before.blocks + 2);
    CHECK(emulate::device_memory().bytes == before.bytes + 107 * sizeof(float));
    bool poisoned = true;
    for (const float v : a.host()) poisoned &= std::isnan(v);
    CHECK(poisoned);
  }
  CHECK(emulate::device_memory().blocks == before.blocks && emulate::device_memory().bytes == before.bytes);
}

// Kernels and copies have access where the host has not.
void test_protected_memory_works() {
  {
    const DeviceArray<float> a(1);
    CHECK_THROWS(emulate::protect_device_memory(true), CudaError);
  }
  emulate::protect_device_memory(true);
  test_reductions(dim3(64));
  test_active_rows();
  emulate::protect_device_memory(false);
}

void test_copies_stay_in_live_blocks() {
  DeviceArray<float> a(16);
  std::vector<float> host(32, 1.0f);
  CHECK_THROWS(memcpy_async(a.data(), host.data(), 68, nullptr), CudaError);
  CHECK_THROWS(memcpy_async(a.data() + 1, host.data(), 64, nullptr, cudaMemcpyHostToDevice), CudaError);
  CHECK_THROWS(memcpy_async(host.data(), a.data() - 1, 8, nullptr), CudaError);
  CHECK_THROWS(memcpy_async(host.data(), host.data() + 1, 8, nullptr, cudaMemcpyHostToDevice), CudaError);
  CHECK_THROWS(memcpy_async(a.data(), host.data(), 8, nullptr, cudaMemcpyDeviceToHost), CudaError);
  CHECK_THROWS(memset_async(a.data() + 15, 0, 5, nullptr), CudaError);
  CHECK_THROWS(memset_async(host.data(), 0, 4, nullptr), CudaError);
  CHECK_THROWS(free_async(a.data() + 1, nullptr), CudaError);
  memcpy_async(a.data(), host.data(), 64, nullptr);
  memcpy_async(host.data() + 16, a.data(), 64, nullptr);
  memset_async(a.data() + 15, 0, 4, nullptr);
  CHECK(a.host()[14] == 1.0f && a.host()[15] == 0.0f);
}

void test_errors_name_the_call() {
  float on_the_host = 0.0f;
  std::string message;
  try {
    free_async(&on_the_host, nullptr);
  } catch (const CudaError& error) {
    message = error.what();
  }
  CHECK(message == "cudaFreeAsync: invalid argument");
}

// ---- streams, events and graphs ----

void test_a_graph_repeats_what_was_captured() {
  const cudaStream_t stream = create_stream();
  {
    DeviceArray<float> a(40), b(40);
    const Graph graph(stream, [&] {
      launch(fill_kernel, 1, 32, 0, stream, a.data(), Index{40}, 3.0f);
      memcpy_async(b.data(), a.data(), a.bytes(), stream);
      memset_async(a.data(), 0, a.bytes(), stream);
      CHECK_THROWS(synchronize(stream), CudaError);
      CHECK_THROWS(malloc_async(4, stream), CudaError);
      void* unused = nullptr;
      CHECK(cudaMalloc(&unused, 4) != cudaSuccess);
      CHECK_THROWS(memset_async(b.data(), 0, b.bytes(), nullptr), emulate::EmulationError);
    });
    CHECK(std::isnan(b.host()[0]));  // nothing ran
    for (int round = 0; round < 2; ++round) {
      memset_async(b.data(), 0, b.bytes(), stream);
      graph.launch(stream);
      synchronize(stream);
      CHECK(b.host() == std::vector<float>(40, 3.0f));
      CHECK(a.host() == std::vector<float>(40, 0.0f));
    }
  }
  destroy_stream(stream);
}

struct Stop {};

void test_a_capture_that_throws_leaves_the_stream_usable() {
  const cudaStream_t stream = create_stream();
  CHECK_THROWS(Graph(stream, [] { throw Stop{}; }), Stop);
  synchronize(stream);
  CHECK_THROWS(Graph(nullptr, [] {}), CudaError);
  destroy_stream(stream);
}

void test_the_default_stream_goes_on_beside_a_capture_apart() {
  const cudaStream_t stream = create_stream_apart();
  DeviceArray<float> a(40);
  const Graph graph(stream, [&] { memset_async(a.data(), 0, a.bytes(), nullptr); });
  CHECK(a.host() == std::vector<float>(40, 0.0f));
  destroy_stream(stream);
}

void test_streams_and_events() {
  const cudaStream_t one = create_stream(), two = create_stream();
  Event from, to;
  CHECK_THROWS(to.milliseconds_since(from), CudaError);
  DeviceArray<float> a(8);
  from.record(one);
  launch(fill_kernel, 1, 32, 0, DeviceStream{one, nullptr}, a.data(), Index{8}, 1.0f);
  launch(fill_kernel, 1, 32, 0, two, a.data(), Index{4}, 2.0f);
  to.record(two);
  to.synchronize();
  CHECK(to.milliseconds_since(from) >= 0.0f);
  CHECK((a.host() == std::vector<float>{2, 2, 2, 2, 1, 1, 1, 1}));
  destroy_stream(one);
  destroy_stream(two);
}

// ---- planted bugs ----

constexpr const char* kFault = "status 139";

struct Outcome {
  int status = 0;  // as the shell has it: 128 and more is a signal
  std::string output;
};

Outcome run_child(const std::string& command) {
  const auto close = [](FILE* pipe) { pclose(pipe); };
  std::unique_ptr<FILE, decltype(close)> pipe(popen(("exec 2>&1; " + command + "; echo \"status $?\"").c_str(), "r"),
                                              close);
  Outcome outcome;
  std::array<char, 4096> buffer;
  while (pipe && std::fgets(buffer.data(), buffer.size(), pipe.get())) outcome.output += buffer.data();
  const auto at = outcome.output.rfind("status ");
  outcome.status = at == std::string::npos ? -1 : std::atoi(outcome.output.c_str() + at + 7);
  return outcome;
}

// The bug is found, with where it stands in the source, and not found in the kernel that does not have it. A fault of
// the processor's has no place to tell.
void expect_found(const std::string& program, const std::string& name, const std::string& report,
                  const std::string& environment = "") {
  const Outcome wrong = run_child("env " + environment + " " + program + " " + name);
  const Outcome right = run_child("env " + environment + " " + program + " " + name + " correct");
  const auto says = [&](const std::string& words) { return wrong.output.find(words) != std::string::npos; };
  const bool faults = report == kFault;
  if (!CHECK(wrong.status != 0 && says(report) && (faults || says("planted.cu:"))))
    std::printf("%s %s: %s\n", program.c_str(), name.c_str(), wrong.output.c_str());
  if (!CHECK(right.status == 0))
    std::printf("%s %s correct: %s\n", program.c_str(), name.c_str(), right.output.c_str());
}

void test_planted_divergence(const std::string& program) {
  expect_found(program, "divergent_barrier", "10 of 64 threads wait in a block's barrier at");
  expect_found(program, "two_barriers", "divergent barrier: some threads are at");
  expect_found(program, "early_exit", "63 of 64 threads wait in a block's barrier at");
  expect_found(program, "divergent_shuffle", "32 of 64 threads wait in a warp's exchange at");
  expect_found(program, "half_warp", "last warp is not whole");
}

#ifdef PLANTED_PLAIN
void test_planted_plain() {
  const std::string program = PLANTED_PLAIN;
  test_planted_divergence(program);
  expect_found(program, "shared_overrun", "write outside the shared array of 244 bytes declared at");
  expect_found(program, "dynamic_shared_overrun", "write outside the shared array of 256 bytes");
  expect_found(program, "global_overrun", "write outside a block of 512 bytes of device memory");
  expect_found(program, "host_read", kFault, "EPSBALL_EMULATE_PROTECT=1");
  expect_found(program, "global_read_overrun", kFault, "EPSBALL_EMULATE_PROTECT=1");
  CHECK(run_child(program + " host_read").output.find("the host read") != std::string::npos);  // without protection
}
#endif

#ifdef PLANTED_ADDRESS
void test_planted_under_asan() {
  const std::string program = PLANTED_ADDRESS, report = "heap-buffer-overflow";
  test_planted_divergence(program);
  expect_found(program, "shared_overrun", report);
  expect_found(program, "dynamic_shared_overrun", report);
  expect_found(program, "global_overrun", report);
  expect_found(program, "global_read_overrun", report);
  expect_found(program, "host_read", "SEGV", "EPSBALL_EMULATE_PROTECT=1");
}
#endif

#ifdef PLANTED_THREAD
void test_planted_under_tsan() {
  const std::string program = PLANTED_THREAD;
  test_planted_divergence(program);
  for (const char* name : {"load_race", "write_after_read_race", "reduction_race", "warp_race", "block_race"})
    expect_found(program, name, std::string("data race"), "TSAN_OPTIONS=atexit_sleep_ms=0");
}
#endif

}  // namespace
}  // namespace epsball::cuda

int main() {
  using namespace epsball::cuda;
  test_every_thread_runs_once();
  test_shuffles();
  test_ballots();
  for (const dim3 block : {dim3(32), dim3(64), dim3(16, 16), dim3(1024)}) test_reductions(block);
  test_reductions_show_a_nan();
  test_atomics();
  test_shared_memory_is_poisoned();
  test_fragments();
  test_a_misaligned_tile_is_reported();
  test_launches_are_checked();
  test_a_launch_after_a_failed_one_works();
  test_active_rows();
  test_device_memory_is_counted_and_poisoned();
  test_protected_memory_works();
  test_copies_stay_in_live_blocks();
  test_errors_name_the_call();
  test_a_graph_repeats_what_was_captured();
  test_a_capture_that_throws_leaves_the_stream_usable();
  test_the_default_stream_goes_on_beside_a_capture_apart();
  test_streams_and_events();
#ifdef PLANTED_PLAIN
  test_planted_plain();
#endif
#ifdef PLANTED_ADDRESS
  test_planted_under_asan();
#endif
#ifdef PLANTED_THREAD
  test_planted_under_tsan();
#endif
  return finish();
}
