// Test buffers between guards, and seeded numbers to fill them with.
#pragma once

#include <cstring>
#include <random>
#include <vector>

#include "array.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(start, bytes)
#endif

namespace epsball::test {

inline constexpr Index kSizes[] = {1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 63, 65, 97};

// `count` elements, aligned no better than their type. What is written outside is found by intact(); what is read
// outside is NaN, and an error under AddressSanitizer.
template <class T>
class Guarded {
 public:
  explicit Guarded(Index count) : count_(count), memory_(static_cast<std::size_t>(count + 2 * kGuard)) {
    std::memset(static_cast<void*>(memory_.data()), 0xFF, memory_.size() * sizeof(T));
    ASAN_POISON_MEMORY_REGION(memory_.data(), kGuard * sizeof(T));
    ASAN_POISON_MEMORY_REGION(data() + count_, kGuard * sizeof(T));
  }
  Guarded(const std::vector<T>& values) : Guarded(static_cast<Index>(values.size())) {
    std::memcpy(data(), values.data(), values.size() * sizeof(T));
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { ASAN_UNPOISON_MEMORY_REGION(memory_.data(), memory_.size() * sizeof(T)); }

  T* data() { return memory_.data() + kGuard; }
  T& operator[](Index i) { return data()[i]; }
  Index size() const { return count_; }
  std::vector<T> copy() { return std::vector<T>(data(), data() + count_); }

  bool intact() {
    ASAN_UNPOISON_MEMORY_REGION(memory_.data(), memory_.size() * sizeof(T));
    const auto* bytes = reinterpret_cast<const unsigned char*>(memory_.data());
    const auto guard = kGuard * sizeof(T), inside = static_cast<std::size_t>(count_) * sizeof(T);
    bool ok = true;
    for (std::size_t i = 0; i < guard; ++i) ok &= bytes[i] == 0xFF && bytes[guard + inside + i] == 0xFF;
    return ok;
  }

 private:
  static constexpr Index kGuard = 17;
  Index count_;
  std::vector<T> memory_;
};

template <class T>
bool same_bits(const T* a, const T* b, Index count) {
  return std::memcmp(a, b, static_cast<std::size_t>(count) * sizeof(T)) == 0;
}
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && same_bits(a.data(), b.data(), static_cast<Index>(a.size()));
}

// Uniform in [lo, hi); a share of `zeros` is exactly 0.
inline std::vector<float> uniform_floats(Index count, unsigned seed, float lo, float hi, float zeros = 0.0f) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> value(lo, hi), chance(0.0f, 1.0f);
  std::vector<float> out(static_cast<std::size_t>(count));
  for (float& v : out) v = chance(random) < zeros ? 0.0f : value(random);
  return out;
}

}  // namespace epsball::test
