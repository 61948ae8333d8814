// A stack of its own to run on, and the switch from one to another in some nanoseconds: no system call is made.
#pragma once

#include <cstddef>

namespace epsball::cuda::emulate {

class Fiber {
 public:
  Fiber() = default;               // the stack of the thread that calls
  explicit Fiber(void (*body)());  // `body` runs at the first switch and never returns
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Called on this fiber; returns when somebody switches back. ThreadSanitizer is told of no order between the two.
  void switch_to(Fiber& to);
  // What a fiber calls first in its body.
  static void entered();

 private:
  void* mapping_ = nullptr;  // a page that faults, then the stack, which grows down to it
  void* top_ = nullptr;      // the stack pointer while another fiber runs
  const void* bottom_ = nullptr;
  std::size_t bytes_ = 0;
  void* fake_stack_ = nullptr;  // AddressSanitizer's
  void* tsan_fiber_ = nullptr;
};

}  // namespace epsball::cuda::emulate
