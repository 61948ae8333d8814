// Non-owning views of the caller's rows and the few types every part of the engine shares.
#pragma once

#include <cstdint>

namespace epsball {

using Index = std::int64_t;
using Stream = void*;  // null on a CPU, a cuda::DeviceStream (cuda/launch.cuh) on a GPU

// Every row inside a slab starts on a multiple of this many floats (64 bytes), so that no vector straddles a line.
inline constexpr Index kRowPad = 16;

inline constexpr Index padded(Index n) { return (n + kRowPad - 1) / kRowPad * kRowPad; }

enum class DType : int { float32, float64, float16 };
enum class Norm : int { linf, l2, l1, l0 };

// (rows, features), rows contiguous, in the caller's dtype.
struct Array {
  void* data = nullptr;
  DType dtype = DType::float32;
  Index rows = 0;
  Index features = 0;
};

// Rows of a slab, `ld` floats apart.
struct Rows {
  float* data = nullptr;
  Index ld = 0;
};

}  // namespace epsball
