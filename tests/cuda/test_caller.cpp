// A caller's arrays on the emulated GPU: values that are not finite or outside a box are found wherever they stand, and
// labels of every integer type come in and go out; work follows the caller's stream.
#include "launch.cuh"

#include <limits>

#include "check.h"
#include "device_array.h"
#include "guarded.h"
#include "half.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

const Device& device() { return *cuda::table().device; }

template <class T>
bool found_broken(DType dtype, Index rows, Index n, const std::vector<T>& x, const std::vector<double>& lo,
                  const std::vector<double>& hi) {
  DeviceArray<T> values(x);
  DeviceArray<double> least(lo), most(hi);
  DeviceArray<std::int32_t> broken(std::vector<std::int32_t>{0});
  const bool boxed = !lo.empty();
  device().check_rows(nullptr, {values.data(), dtype, rows, n}, boxed ? least.data() : nullptr,
                      boxed ? most.data() : nullptr, broken.data());
  return broken.host()[0] != 0;
}

template <class T>
void test_check_rows(DType dtype, Index rows, Index n, T inside, const std::vector<T>& never, T outside) {
  const std::vector<T> good(static_cast<std::size_t>(rows * n), inside);
  const std::vector<double> lo(static_cast<std::size_t>(n), 0.0), hi(static_cast<std::size_t>(n), 1.0);
  CHECK(!found_broken(dtype, rows, n, good, {}, {}));
  CHECK(!found_broken(dtype, rows, n, good, lo, hi));
  for (const Index i : {Index{0}, rows * n / 2, rows * n - 1}) {
    std::vector<T> x = good;
    x[static_cast<std::size_t>(i)] = outside;
    CHECK(!found_broken(dtype, rows, n, x, {}, {}));
    CHECK(found_broken(dtype, rows, n, x, lo, hi));
    for (const T bad : never) {
      x[static_cast<std::size_t>(i)] = bad;
      CHECK(found_broken(dtype, rows, n, x, {}, {}));
      CHECK(found_broken(dtype, rows, n, x, lo, hi));
    }
  }
}

// The caller's dtype of a float, and what a half cannot hold is said.
void test_write_rows() {
  const std::vector<float> values = {0.0f,          -0.0f,    1.0f,     -1.00048828125f, 1.00048828125f,
                                     1.0014648f,    65504.0f, 65519.9f, 5.960464e-8f,    2.9802322e-8f,
                                     2.9802326e-8f, 1e-30f,   0.1f,     -0.333333f};
  // by hand: ties go to the even neighbour, and so does what lies between the least half and 0
  const std::vector<std::uint16_t> halves = {0x0000, 0x8000, 0x3c00, 0xbc00, 0x3c00, 0x3c02, 0x7bff,
                                             0x7bff, 0x0001, 0x0000, 0x0001, 0x0000, 0x2e66, 0xb555};
  const auto count = static_cast<Index>(values.size());
  DeviceArray<float> from(values);
  DeviceArray<std::int32_t> broken(std::vector<std::int32_t>{0});
  DeviceArray<std::uint16_t> half(count);
  DeviceArray<double> doubles(count);
  device().write_rows(nullptr, from.data(), {half.data(), DType::float16, 2, count / 2}, broken.data());
  device().write_rows(nullptr, from.data(), {doubles.data(), DType::float64, 2, count / 2}, broken.data());
  CHECK(half.host() == halves);
  CHECK(doubles.host() == std::vector<double>(values.begin(), values.end()));
  CHECK(broken.host()[0] == 0);
  for (const float bad : {65520.0f, -1e6f, std::nanf("")}) {
    DeviceArray<float> one(std::vector<float>{bad});
    DeviceArray<std::int32_t> said(std::vector<std::int32_t>{0});
    device().write_rows(nullptr, one.data(), {half.data(), DType::float16, 1, 1}, said.data());
    CHECK(said.host()[0] == 1);
  }
}

// What is recorded is not done before it is replayed, wherever the stream's work goes then.
void test_recordings() {
  const auto queue = cuda::create_stream();
  DeviceArray<float> a(std::vector<float>{1.0f}), b(std::vector<float>{0.0f});
  const Stream stream = device().open();
  struct Work {
    Stream stream;
    float *a, *b;
  } work{stream, a.data(), b.data()};
  const auto calls = [](void* w) {
    const auto& it = *static_cast<const Work*>(w);
    cuda::table().copy(it.stream, it.b, it.a, sizeof(float));
    cuda::table().fill(it.stream, it.a, 0, sizeof(float));
  };
  void* const recording = device().record(stream, calls, &work);
  CHECK(a.host()[0] == 1.0f && b.host()[0] == 0.0f);
  device().follow(stream, queue);
  const auto before = cuda::emulate::calls_of(queue);
  device().replay(stream, recording);
  device().finish(stream);
  CHECK(a.host()[0] == 0.0f && b.host()[0] == 1.0f);
  CHECK(cuda::emulate::calls_of(queue) == before + 1);
  CHECK_THROWS(device().record(stream, [](void*) { throw 1; }, nullptr), int);
  device().replay(stream, recording);  // the stream works on
  CHECK(b.host()[0] == 0.0f);
  device().forget(recording);
  device().follow(stream, nullptr);
  device().close(stream);
  cuda::destroy_stream(queue);
}

template <class T>
void test_labels(Index count) {
  constexpr Index kLimit = 7;
  std::vector<T> y;
  for (Index i = 0; i < count; ++i) y.push_back(static_cast<T>(i % kLimit));
  const auto read = [&](std::vector<std::int32_t>& labels) {
    DeviceArray<T> from(y);
    DeviceArray<std::int32_t> to(count), broken(std::vector<std::int32_t>{0});
    const Integers integers{from.data(), count, sizeof(T), std::is_signed_v<T>};
    device().read_labels(nullptr, integers, kLimit, to.data(), broken.data());
    labels = to.host();
    return broken.host()[0] == 0;
  };
  std::vector<std::int32_t> labels;
  CHECK(read(labels));
  for (Index i = 0; i < count; ++i) CHECK(labels[i] == i % kLimit);
  for (const T bad : {static_cast<T>(kLimit), static_cast<T>(-1), std::numeric_limits<T>::max()}) {
    y.back() = bad;
    CHECK(!read(labels));
    CHECK(labels.back() == 0);
  }
}

void test_written_labels(Index count) {
  std::vector<std::int32_t> labels;
  for (Index i = 0; i < count; ++i) labels.push_back(static_cast<std::int32_t>(3 * i));
  DeviceArray<std::int32_t> from(labels);
  DeviceArray<std::int64_t> to(count);
  device().write_labels(nullptr, count, from.data(), to.data());
  const std::vector<std::int64_t> found = to.host();
  for (Index i = 0; i < count; ++i) CHECK(found[i] == 3 * i);
}

void test_work_follows_the_callers_stream() {
  using cuda::emulate::calls_of;
  const cuda::cudaStream_t mine = cuda::create_stream();
  const Stream stream = device().open();
  device().follow(stream, mine);
  const std::size_t before = calls_of(mine), others = calls_of(nullptr);
  device().activate(stream, 5);
  CHECK(calls_of(mine) == before + 1);
  CHECK(calls_of(nullptr) == others);
  device().follow(stream, nullptr);
  device().activate(stream, 5);
  CHECK(calls_of(mine) == before + 1);
  cuda::destroy_stream(mine);
  CHECK_THROWS(device().follow(stream, mine), cuda::CudaError);
  device().activate(stream, 5);  // on the default one still
  device().close(stream);
}

}  // namespace

int main() {
  test_write_rows();
  test_recordings();
  const double huge = std::numeric_limits<double>::max(), infinite = std::numeric_limits<double>::infinity();
  const float nan = std::nanf("");
  for (const Index rows : {1, 3, 17})
    for (const Index n : {1, 31, 33, 97}) {
      test_check_rows<float>(DType::float32, rows, n, 1.0f, {nan, INFINITY, -INFINITY}, std::nextafter(1.0f, 2.0f));
      test_check_rows<double>(DType::float64, rows, n, 0.0, {std::nan(""), infinite, 2.0 * 3.4028235e38, -huge},
                              std::nextafter(0.0, -1.0));
      // halves: 1, infinity, NaN, 1 + 2^-10
      test_check_rows<std::uint16_t>(DType::float16, rows, n, 0x3c00, {0x7c00, 0xfc00, 0x7e00}, 0x3c01);
    }
  for (const Index count : {1, 31, 129}) {
    test_labels<std::int8_t>(count);
    test_labels<std::uint8_t>(count);
    test_labels<std::int16_t>(count);
    test_labels<std::uint16_t>(count);
    test_labels<std::int32_t>(count);
    test_labels<std::uint32_t>(count);
    test_labels<std::int64_t>(count);
    test_labels<std::uint64_t>(count);
    test_written_labels(count);
  }
  test_work_follows_the_callers_stream();
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
