// Memory of exactly the size asked for, all 0xFF (a NaN) at first, with something on both sides that finds who leaves
// it.
#pragma once

#include <cstddef>

namespace epsball::cuda::emulate {

class GuardedBlock {
 public:
  // heap: 0xFF around it, checked by intact(); under AddressSanitizer nothing, so that its own red zones are there.
  // pages: of its own, up to the end of one, so that they can be closed and an overrun faults.
  enum class Kind { heap, pages };

  GuardedBlock(std::size_t bytes, std::size_t alignment, Kind kind = Kind::heap);
  GuardedBlock(GuardedBlock&& other) noexcept;
  GuardedBlock& operator=(GuardedBlock&&) = delete;
  ~GuardedBlock();

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  bool intact() const;
  // While closed, whoever touches it faults; pages only.
  void close(bool closed) const;

 private:
  Kind kind_;
  std::size_t bytes_, mapped_ = 0;
  unsigned char* memory_ = nullptr;  // of `mapped_` bytes with the guards
  unsigned char* data_ = nullptr;
};

}  // namespace epsball::cuda::emulate
