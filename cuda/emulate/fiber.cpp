// Stacks with a guard page, and the context switch by hand: boost and ucontext are a dependency and a system call.
#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#include "sanitizers.h"

// epsball_switch_stack(&old_top, new_top): saves what a call must preserve on this stack and continues on the other.
extern "C" __attribute__((visibility("hidden"))) void epsball_switch_stack(void** old_top, void* new_top);

#if defined(__x86_64__)
asm(R"(
.text
.hidden epsball_switch_stack
.globl epsball_switch_stack
.type epsball_switch_stack, @function
epsball_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size epsball_switch_stack, .-epsball_switch_stack
)");
constexpr std::size_t kFrameWords = 8, kReturnWord = 6;  // six registers, the address to return to, one to align
#elif defined(__aarch64__)
asm(R"(
.text
.hidden epsball_switch_stack
.globl epsball_switch_stack
.type epsball_switch_stack, %function
epsball_switch_stack:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size epsball_switch_stack, .-epsball_switch_stack
)");
constexpr std::size_t kFrameWords = 20, kReturnWord = 11;  // x30 is the twelfth
#else
#error "the emulator's context switch is written for x86-64 and aarch64"
#endif

namespace epsball::cuda::emulate {
namespace {

constexpr std::size_t kStackBytes = 256 * 1024;  // AddressSanitizer's frames are large; untouched pages cost nothing

std::size_t page() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

Fiber::Fiber(void (*body)()) : bytes_(kStackBytes) {
  mapping_ = mmap(nullptr, page() + bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (mapping_ == MAP_FAILED) throw std::bad_alloc();
  mprotect(mapping_, page(), PROT_NONE);
  auto* bottom = static_cast<char*>(mapping_) + page();
  bottom_ = bottom;
  // What the switch will restore: zeros, and the body as the address to return to.
  auto* frame = reinterpret_cast<std::uintptr_t*>(bottom + bytes_) - kFrameWords;
  for (std::size_t i = 0; i < kFrameWords; ++i) frame[i] = 0;
  frame[kReturnWord] = reinterpret_cast<std::uintptr_t>(body);
  top_ = frame;
  if (under_tsan()) tsan_fiber_ = __tsan_create_fiber(0);
}

Fiber::~Fiber() {
  if (!mapping_) return;
  if (tsan_fiber_) __tsan_destroy_fiber(tsan_fiber_);
  if (under_asan()) __asan_unpoison_memory_region(bottom_, bytes_);  // the frames of a fiber that was given up
  munmap(mapping_, page() + bytes_);
}

namespace {

// The fiber that was left last, so that the next one can say where AddressSanitizer finds the stack of a thread, which
// nobody made here. Every switch reads them: initial-exec spares the call that AddressSanitizer would intercept.
[[gnu::tls_model("initial-exec")]] thread_local const void** left_bottom = nullptr;
[[gnu::tls_model("initial-exec")]] thread_local std::size_t* left_bytes = nullptr;

}  // namespace

void Fiber::switch_to(Fiber& to) {
  if (under_tsan()) {
    if (!mapping_) tsan_fiber_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to.tsan_fiber_, 1);  // 1: without synchronisation
  }
  if (under_asan()) {
    left_bottom = &bottom_;
    left_bytes = &bytes_;
    __sanitizer_start_switch_fiber(&fake_stack_, to.bottom_, to.bytes_);
  }
  epsball_switch_stack(&top_, to.top_);
  if (under_asan()) __sanitizer_finish_switch_fiber(fake_stack_, left_bottom, left_bytes);
}

void Fiber::entered() {
  if (under_asan()) __sanitizer_finish_switch_fiber(nullptr, left_bottom, left_bytes);
}

}  // namespace epsball::cuda::emulate
