// Copies to the device when a call begins, and back when it ends.
#include "staging.h"

namespace epsball {

Index Staging::bytes_of(const Array& a) {
  const Index each = a.dtype == DType::float64 ? 8 : a.dtype == DType::float32 ? 4 : 2;
  return a.rows * a.features * each;
}

void* Staging::here(void* data, Index bytes, bool read, bool written) {
  if (!arena_ || !data || kernels_.device->holds(data)) return data;
  Arena& arena = **arena_;
  void* const copy = arena.take<char>(bytes);
  if (read) kernels_.copy(arena.stream(), copy, data, bytes);
  if (written) results_.push_back({data, copy, bytes});
  return copy;
}

void Staging::finish() {
  if (!arena_) return;
  Arena& arena = **arena_;
  for (const Result& r : results_) kernels_.copy(arena.stream(), r.host, r.device, r.bytes);
  kernels_.device->finish(arena.stream());
  arena.check();
}

}  // namespace epsball
