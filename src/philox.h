// Philox-4x32-10 (Salmon et al., SC 2011): counter-based random numbers, the same bits on every device and table.
#pragma once

#include "lane.h"

namespace epsball::EPSBALL_ISA {

EPSBALL_HD void mul_hi_lo(std::uint32_t a, std::uint32_t b, std::uint32_t& hi, std::uint32_t& lo) {
  std::uint64_t p = static_cast<std::uint64_t>(a) * b;
  hi = static_cast<std::uint32_t>(p >> 32);
  lo = static_cast<std::uint32_t>(p);
}

// Encrypts the counter in place; U is uint32_t or a vector of them.
template <class U>
EPSBALL_HD void philox(U (&counter)[4], std::uint64_t key) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key);
  std::uint32_t k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    U hi0, lo0, hi1, lo1;
    mul_hi_lo(counter[0], 0xD2511F53u, hi0, lo0);
    mul_hi_lo(counter[2], 0xCD9E8D57u, hi1, lo1);
    counter[0] = hi1 ^ counter[1] ^ k0;
    counter[1] = lo1;
    counter[2] = hi0 ^ counter[3] ^ k1;
    counter[3] = lo0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// Element i of a row's stream is word (i / 16) % 4 of block (i / 64) * 16 + i % 16, so that vectors of up to 16 lanes
// hold consecutive elements.
inline constexpr int kPhiloxGroup = 64;

}  // namespace epsball::EPSBALL_ISA
