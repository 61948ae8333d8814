// The machine's own limit, measured: independent fused multiply-adds in registers.
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

double fma_loop(Index rounds) {
  constexpr int kChains = EPSBALL_LANES == 16 ? 24 : 12;
  Vec acc[kChains];
  Vec a = splat<Vec>(0.999f), b = splat<Vec>(0.001f);
#pragma GCC unroll 24
  for (int c = 0; c < kChains; ++c) acc[c] = splat<Vec>(static_cast<float>(c));
  for (Index r = 0; r < rounds; ++r) {
#pragma GCC unroll 24
    for (int c = 0; c < kChains; ++c) {
      acc[c] = mul_add(acc[c], a, b);
#if EPSBALL_LANES > 1
#if defined(__x86_64__)
      asm volatile("" : "+v"(acc[c]));
#else
      asm volatile("" : "+w"(acc[c]));
#endif
#endif
    }
  }
  Vec total = {};
#pragma GCC unroll 24
  for (int c = 0; c < kChains; ++c) total = total + acc[c];
  volatile float sink = sum(total);
  (void)sink;
  return 2.0 * kChains * kLanes * static_cast<double>(rounds);
}

}  // namespace

void add_roofline(Kernels& k) { k.fma_loop = fma_loop; }

}  // namespace epsball::EPSBALL_ISA
