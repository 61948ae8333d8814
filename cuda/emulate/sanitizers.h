// What the runtime asks of AddressSanitizer and ThreadSanitizer: null where the program is built without them, so that
// the same object serves every build.
#pragma once

#include <cstddef>

extern "C" {
#define EPSBALL_WEAK __attribute__((weak))
EPSBALL_WEAK void __asan_unpoison_memory_region(const volatile void* start, std::size_t bytes);
EPSBALL_WEAK void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom, std::size_t bytes);
EPSBALL_WEAK void __sanitizer_finish_switch_fiber(void* fake_stack, const void** bottom, std::size_t* bytes);
EPSBALL_WEAK void* __tsan_get_current_fiber(void);
EPSBALL_WEAK void* __tsan_create_fiber(unsigned flags);
EPSBALL_WEAK void __tsan_destroy_fiber(void* fiber);
EPSBALL_WEAK void __tsan_switch_to_fiber(void* fiber, unsigned flags);
EPSBALL_WEAK void __tsan_acquire(void* at);
EPSBALL_WEAK void __tsan_release(void* at);
EPSBALL_WEAK void AnnotateIgnoreReadsBegin(const char* file, int line);
EPSBALL_WEAK void AnnotateIgnoreReadsEnd(const char* file, int line);
EPSBALL_WEAK void AnnotateIgnoreWritesBegin(const char* file, int line);
EPSBALL_WEAK void AnnotateIgnoreWritesEnd(const char* file, int line);
#undef EPSBALL_WEAK
}

namespace epsball::cuda::emulate {

inline bool under_asan() { return __sanitizer_start_switch_fiber != nullptr; }
inline bool under_tsan() { return __tsan_create_fiber != nullptr; }

// While one lives, ThreadSanitizer sees nothing of what this thread does to memory.
class Unseen {
 public:
  Unseen() {
    if (!under_tsan()) return;
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Unseen() {
    if (!under_tsan()) return;
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;
};

}  // namespace epsball::cuda::emulate
