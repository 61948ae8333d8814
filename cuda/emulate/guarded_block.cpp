// Guards around a block: bytes that are compared, or pages that fault.
#include "guarded_block.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "sanitizers.h"

namespace epsball::cuda::emulate {
namespace {

constexpr int kPoison = 0xFF;

std::size_t page() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

// Every byte is what the next one is, and the first is right.
bool all_poison(const unsigned char* first, const unsigned char* last) {
  return first == last || (*first == kPoison && std::memcmp(first, first + 1, last - first - 1) == 0);
}

}  // namespace

GuardedBlock::GuardedBlock(std::size_t bytes, std::size_t alignment, Kind kind) : kind_(kind), bytes_(bytes) {
  if (kind == Kind::pages) {
    const std::size_t inside = (bytes + page() - 1) / page() * page();
    mapped_ = inside + 2 * page();
    void* memory = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    memory_ = static_cast<unsigned char*>(memory);
    data_ = memory_ + page() + (inside - bytes) / alignment * alignment;
    std::memset(memory_, kPoison, mapped_);
    mprotect(memory_, page(), PROT_NONE);
    mprotect(memory_ + page() + inside, page(), PROT_NONE);
    return;
  }
  const std::size_t guard = under_asan() ? 0 : alignment;
  mapped_ = bytes + 2 * guard;
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, mapped_) != 0) throw std::bad_alloc();
  memory_ = static_cast<unsigned char*>(memory);
  data_ = memory_ + guard;
  std::memset(memory_, kPoison, mapped_);
}

GuardedBlock::GuardedBlock(GuardedBlock&& other) noexcept
    : kind_(other.kind_),
      bytes_(other.bytes_),
      mapped_(other.mapped_),
      memory_(std::exchange(other.memory_, nullptr)),
      data_(other.data_) {}

GuardedBlock::~GuardedBlock() {
  if (kind_ == Kind::heap)
    std::free(memory_);
  else if (memory_)
    munmap(memory_, mapped_);
}

bool GuardedBlock::intact() const {
  const std::size_t edge = kind_ == Kind::pages ? page() : 0;  // pages that cannot be read
  const unsigned char *first = memory_ + edge, *last = memory_ + mapped_ - edge;
  return all_poison(first, data_) && all_poison(data_ + bytes_, last);
}

void GuardedBlock::close(bool closed) const {
  if (kind_ == Kind::pages)
    mprotect(memory_ + page(), mapped_ - 2 * page(), closed ? PROT_NONE : PROT_READ | PROT_WRITE);
}

}  // namespace epsball::cuda::emulate
